//! Certificates.

use super::*;

#[tokio::test]
async fn certificates_that_are_not_there_are_named() {
    let mut config = somewhere("127.0.0.1:1");
    let missing = std::path::PathBuf::from("/nonexistent/ca.pem");
    config.tls = Some(streams::fluvio::Tls {
        domain: "fluvio.local".to_owned(),
        ca: missing.clone(),
        certificate: missing.clone(),
        key: missing,
    });
    let metrics = FluvioMetrics::register(&Registry::new()).unwrap();
    let refused = FluvioStreams::connect(config, readings(1), SystemClock::shared(), Tracing::default(), metrics).await;
    let refused = refused.unwrap_err();
    assert!(matches!(refused, Error::Incompatible(_)), "{refused}");
    assert!(refused.to_string().contains("fluvio.tls"), "{refused}");
}

fn somewhere(endpoint: &str) -> FluvioConfig {
    FluvioConfig {
        endpoint: endpoint.to_owned(),
        topic_prefix: "weir-".to_owned(),
        replication: 1,
        retention: Duration::from_secs(3600),
        timeout: Duration::from_secs(1),
        lease: Duration::from_secs(2),
        owner: "a test".to_owned(),
        record_bytes: 1024,
        queue_bytes: 1024,
        tls: None,
    }
}
