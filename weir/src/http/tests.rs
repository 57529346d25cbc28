use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

async fn start(ready: bool) -> SocketAddr {
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let registry = Registry::new();
    let counter = prometheus::IntCounter::new("weir_test_total", "A test").unwrap();
    registry.register(Box::new(counter)).unwrap();
    serve(
        listener,
        registry,
        Arc::new(move || if ready { Ok(()) } else { Err("the log is full".to_owned()) }),
        Router::new(),
    );
    address
}

#[tokio::test]
async fn metrics_health_and_readiness_answer() {
    let address = start(true).await;
    let metrics = get(address, "/metrics").await;
    assert!(metrics.contains("text/plain") && metrics.contains("weir_test_total 0"), "{metrics}");
    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
    assert!(get(address, "/nothing").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn not_ready_says_why() {
    let response = get(start(false).await, "/readyz").await;
    assert!(response.starts_with("HTTP/1.1 503") && response.contains("the log is full"), "{response}");
}

#[tokio::test]
async fn a_taken_port_names_the_port_and_the_flag() {
    let taken = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = taken.local_addr().unwrap();
    let error = format!("{:#}", bind(address).await.unwrap_err());
    assert!(error.contains(&format!("port {}", address.port())) && error.contains("--http"), "{error}");
}
