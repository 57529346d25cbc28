//! TLS towards the broker. Files are read for each connection, so that renewed certificates are taken up.

use std::path::Path;
use std::sync::Arc;

use rustls_platform_verifier::BuilderVerifierExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WantsClientCert;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use super::config::TlsFiles;
use super::problem::Problem;

/// TLS over `stream`, to the broker that `host` names in its certificate.
pub(super) async fn wrap(stream: TcpStream, host: &str, files: &TlsFiles) -> Result<TlsStream<TcpStream>, Problem> {
    let config = client(files).map_err(Problem::Tls)?;
    let name =
        ServerName::try_from(host.to_owned()).map_err(|error| Problem::Tls(format!("host `{host}`: {error}")))?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    connected.map_err(|error| Problem::Tls(error.to_string()))
}

fn client(files: &TlsFiles) -> Result<ClientConfig, String> {
    let builder = trusting(files.ca.as_deref())?;
    let Some((certificate, key)) = &files.identity else { return Ok(builder.with_no_client_auth()) };
    let key_content = PrivateKeyDer::from_pem_file(key).map_err(|error| named(key, error))?;
    let matched = builder.with_client_auth_cert(certificates(certificate)?, key_content);
    matched.map_err(|error| format!("{} and {}: {error}", certificate.display(), key.display()))
}

fn trusting(ca: Option<&Path>) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let Some(path) = ca else {
        return builder.with_platform_verifier().map_err(|error| format!("certificates of the system: {error}"));
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| named(path, error))?;
    }
    Ok(builder.with_root_certificates(roots))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).map_err(|error| named(path, error))?;
    let all: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| named(path, error))?;
    if all.is_empty() { Err(named(path, "no certificate in PEM")) } else { Ok(all) }
}

fn named(path: &Path, error: impl std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.pem");
        let error = |files: TlsFiles| client(&files).err().unwrap();
        let with_ca = TlsFiles { ca: Some(path.clone()), identity: None };
        assert!(error(with_ca.clone()).starts_with(&format!("{}: ", path.display())));
        std::fs::write(&path, "no certificate").unwrap();
        assert!(error(with_ca).ends_with("no certificate in PEM"));
        let with_key = TlsFiles { ca: None, identity: Some((path.clone(), path.clone())) };
        assert!(error(with_key).starts_with(&format!("{}: ", path.display())));
    }
}
