use axum::Router;
use axum::extract::RawQuery;
use axum::http::HeaderMap;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

async fn serve(router: Router) -> (AdminClient, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let client = AdminClient::new(listener.local_addr().unwrap());
    (client, tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }))
}

#[tokio::test]
async fn a_question_is_asked_and_answered() {
    let router = Router::new()
        .route("/api/v1/things", get(async |RawQuery(query): RawQuery| axum::Json(query.unwrap_or_default())))
        .route(
            "/api/v1/change",
            post(async |headers: HeaderMap, body: String| {
                axum::Json((headers.get("weir-admin").unwrap().to_str().unwrap().to_owned(), body))
            }),
        );
    let (client, server) = serve(router).await;
    let path = with_query("/api/v1/things", &[("rule", Some("a b&c=ä")), ("device", None), ("limit", Some("5"))]);
    let query: String = client.get(&path).await.unwrap();
    assert_eq!(query, "rule=a%20b%26c%3D%C3%A4&limit=5");
    let (header, body): (String, String) = client.post("/api/v1/change", &["x", "y"]).await.unwrap();
    assert_eq!((header.as_str(), body.as_str()), ("1", r#"["x","y"]"#));
    server.abort();
}

#[tokio::test]
async fn what_the_server_says_is_wrong_is_told() {
    let refusal = (StatusCode::NOT_FOUND, axum::Json(serde_json::json!({ "error": "no run `x`" })));
    let router = Router::new().route("/api/v1/x", get(async move || refusal));
    let (client, server) = serve(router).await;
    let error = client.get::<String>("/api/v1/x").await.unwrap_err().to_string();
    assert!(error.ends_with("no run `x`") && error.contains("127.0.0.1"), "{error}");
    let error = client.get::<String>("/api/v1/y").await.unwrap_err().to_string();
    assert!(error.contains("404"), "{error}");
    server.abort();
}

#[tokio::test]
async fn nobody_there_is_told_with_the_address() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = AdminClient::new(address).get::<String>("/api/v1/rules").await.unwrap_err().to_string();
    assert!(error.contains(&format!("no weir answers at {address}")), "{error}");
}

#[test]
fn an_unspecified_address_is_this_machine() {
    assert_eq!(AdminClient::new("0.0.0.0:9464".parse().unwrap()).address, "127.0.0.1:9464".parse().unwrap());
    assert_eq!(AdminClient::new("[::]:9464".parse().unwrap()).address, "[::1]:9464".parse().unwrap());
}
