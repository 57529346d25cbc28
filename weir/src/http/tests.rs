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

async fn start(ready: bool) -> (SocketAddr, Server) {
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let registry = Registry::new();
    let counter = prometheus::IntCounter::new("weir_test_total", "A test").unwrap();
    registry.register(Box::new(counter)).unwrap();
    let readiness = move || if ready { Ok(()) } else { Err("the log is full".to_owned()) };
    (address, serve(listener, registry, Arc::new(readiness)).unwrap())
}

#[tokio::test]
async fn metrics_health_and_readiness_answer() {
    let (address, _server) = start(true).await;
    let metrics = get(address, "/metrics").await;
    assert!(metrics.contains("text/plain") && metrics.contains("weir_test_total 0"), "{metrics}");
    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
    assert!(get(address, "/nothing").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn not_ready_says_why() {
    let (address, _server) = start(false).await;
    let response = get(address, "/readyz").await;
    assert!(response.starts_with("HTTP/1.1 503") && response.contains("the log is full"), "{response}");
}

#[tokio::test]
async fn a_taken_port_names_the_port_and_the_flag() {
    let taken = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = taken.local_addr().unwrap();
    let error = format!("{:#}", bind(address).await.unwrap_err());
    assert!(error.contains(&format!("port {}", address.port())) && error.contains("--http"), "{error}");
}

#[tokio::test]
async fn the_api_is_served_once_there_is_one_and_the_port_ends_with_the_server() {
    let (address, server) = start(false).await;
    let early = get(address, "/api/v1/rules").await;
    assert!(early.starts_with("HTTP/1.1 503") && early.contains("not ready: the log is full"), "{early}");
    // A connection from before goes on with what is served by then.
    let mut kept = TcpStream::connect(address).await.unwrap();
    let mut answer = async |path: &str| {
        kept.write_all(format!("GET {path} HTTP/1.1\r\nhost: weir\r\n\r\n").as_bytes()).await.unwrap();
        let mut bytes = [0; 4096];
        let read = kept.read(&mut bytes).await.unwrap();
        String::from_utf8_lossy(&bytes[..read]).into_owned()
    };
    assert!(answer("/healthz").await.starts_with("HTTP/1.1 200"));
    server.open(Router::new().route("/api/v1/rules", axum::routing::get(async || "rules\n")));
    assert!(answer("/api/v1/rules").await.ends_with("rules\n"));
    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
    drop(server);
    let closed = async || loop {
        if TcpStream::connect(address).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    };
    tokio::time::timeout(Duration::from_secs(10), closed()).await.unwrap();
}
