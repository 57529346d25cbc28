//! TLS to the servers of a cluster.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use super::config::Tls;
use crate::contract::Error;

/// Certificates, read.
#[derive(Clone)]
pub(super) struct Identity {
    connector: TlsConnector,
    domain: String,
}

impl Identity {
    /// Reads the files of `tls`.
    ///
    /// # Errors
    /// [`Error::Incompatible`] naming the file.
    pub(super) fn read(tls: &Tls) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for authority in certificates("ca", &tls.ca)? {
            roots.add(authority).map_err(|error| wrong("ca", &tls.ca, &error.to_string()))?;
        }
        let certificates = certificates("certificate", &tls.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| wrong("key", &tls.key, &error.to_string()))?;
        let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong("key", &tls.key, &error.to_string()))?
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates, key)
            .map_err(|error| wrong("certificate", &tls.certificate, &error.to_string()))?;
        server_name(&tls.domain)?;
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), domain: tls.domain.clone() })
    }

    /// How to shake hands, and the name the certificate of the server must have: the domain, for a named server behind
    /// its name.
    pub(super) fn of(&self, server: Option<&str>) -> Result<(&TlsConnector, ServerName<'static>), Error> {
        let name = server.map_or_else(|| self.domain.clone(), |server| format!("{server}.{}", self.domain));
        Ok((&self.connector, server_name(&name)?))
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(name.to_owned()).map_err(|error| {
        Error::Incompatible(format!("fluvio.tls.domain: {name}: {error}; expected a name of a server"))
    })
}

fn certificates(field: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read = read.map_err(|error| wrong(field, path, &error.to_string()))?;
    if read.is_empty() {
        return Err(wrong(field, path, "no certificate in it"));
    }
    Ok(read)
}

fn wrong(field: &str, path: &Path, why: &str) -> Error {
    Error::Incompatible(format!("fluvio.tls.{field} = {}: {why}; expected a PEM file", path.display()))
}
