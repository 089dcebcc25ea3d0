//! TLS as psql does it: which certificates are trusted, what of the server's is checked, and which is ours.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion,
};

/// Whose certificates are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trusted {
    /// Anyone's: the connection is encrypted, to whomever.
    Anyone,
    /// Those that the machine trusts.
    System,
    /// Those of a file, and what they signed.
    File(PathBuf),
}

/// What a connection string says of certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificates {
    /// Who may have signed the server's.
    pub(super) trusted: Trusted,
    /// Whether the server's must be for the host that was asked for.
    pub(super) checks_name: bool,
    /// A list of certificates that are not trusted any more.
    pub(super) revoked: Option<PathBuf>,
    /// Our own certificate and its private key.
    pub(super) own: Option<(PathBuf, PathBuf)>,
    /// The versions of TLS that may be spoken.
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// A file that cannot be read or holds no certificate or key; a private key that others may read.
    pub(super) fn client_config(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Arc::new(ServerCertificate {
            chain: self.chain(&provider)?,
            checks_name: self.checks_name,
            algorithms: provider.signature_verification_algorithms,
        });
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let Some((certificate, key)) = &self.own else { return Ok(builder.with_no_client_auth()) };
        check_private(key)?;
        let private_key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable("sslkey", key, &error))?;
        builder
            .with_client_auth_cert(certificates_of("sslcert", certificate)?, private_key)
            .map_err(|error| format!("use the client certificate {}: {error}", certificate.display()))
    }

    fn chain(&self, provider: &Arc<CryptoProvider>) -> Result<Option<Chain>, String> {
        let roots = match &self.trusted {
            Trusted::Anyone => return Ok(None),
            Trusted::System => rustls_native_certs::load_native_certs().certs,
            Trusted::File(file) => certificates_of("sslrootcert", file)?,
        };
        let mut store = RootCertStore::empty();
        let (added, _) = store.add_parsable_certificates(roots.iter().cloned());
        if added == 0 {
            return Err("no trusted root certificate could be read".to_owned());
        }
        let mut builder = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider));
        if let Some(file) = &self.revoked {
            // As psql: a certificate of whose signer there is no list, or only an outdated one, is not trusted.
            builder = builder.with_crls(revocation_lists(file)?).enforce_revocation_expiration();
        }
        let verifier = builder.build().map_err(|error| error.to_string())?;
        Ok(Some(Chain { verifier, roots, checks_revocation: self.revoked.is_some() }))
    }
}

fn certificates_of(option: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let refuse = |error| unreadable(option, file, &error);
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).map_err(refuse)?.collect();
    let certificates = certificates.map_err(refuse)?;
    match certificates.is_empty() {
        true => Err(format!("{option} {} holds no certificate in PEM", file.display())),
        false => Ok(certificates),
    }
}

fn revocation_lists(file: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let refuse = |error| unreadable("sslcrl", file, &error);
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_file_iter(file).map_err(refuse)?.collect();
    let lists = lists.map_err(refuse)?;
    match lists.is_empty() {
        // Nothing would be checked, where somebody asks for just that.
        true => Err(format!("sslcrl {} holds no list of revoked certificates in PEM", file.display())),
        false => Ok(lists),
    }
}

fn unreadable(option: &str, file: &Path, error: &rustls::pki_types::pem::Error) -> String {
    format!("read {option} {}: {error}", file.display())
}

/// As libpq: a key is for its owner alone; one of root's may be read by a group.
#[cfg(unix)]
fn check_private(key: &Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = std::fs::metadata(key).map_err(|error| format!("read sslkey {}: {error}", key.display()))?;
    let forbidden = if metadata.uid() == 0 { 0o027 } else { 0o077 };
    match metadata.mode() & forbidden {
        0 => Ok(()),
        _ => Err(format!("others may read sslkey {}: chmod 0600 it", key.display())),
    }
}

#[cfg(not(unix))]
fn check_private(_key: &Path) -> Result<(), String> {
    Ok(())
}

/// Whom a server's certificate is checked against.
#[derive(Debug)]
struct Chain {
    verifier: Arc<WebPkiServerVerifier>,
    /// As they stand in the file.
    roots: Vec<CertificateDer<'static>>,
    /// Whether there are lists of revoked certificates.
    checks_revocation: bool,
}

/// What is checked of a server's certificate.
#[derive(Debug)]
struct ServerCertificate {
    chain: Option<Chain>,
    checks_name: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for ServerCertificate {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        let verified = chain.verifier.verify_server_cert(certificate, intermediates, name, ocsp_response, now);
        match verified {
            // The chain is looked at first: only the name is not as asked for.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.checks_name => Ok(ServerCertVerified::assertion()),
            // A certificate that signed itself and is trusted as it is, as PostgreSQL's manual makes one.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_)))
                if chain.roots.iter().any(|root| root.as_ref() == certificate.as_ref()) =>
            {
                // It was refused before the lists were looked at.
                if chain.checks_revocation {
                    return Err(CertificateError::UnknownRevocationStatus.into());
                }
                if self.checks_name {
                    verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                }
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_of_revoked_certificates_is_no_list() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("root.crl");
        for (text, reason) in [("", "holds no list"), ("-----BEGIN X509 CRL-----\n", "read sslcrl")] {
            std::fs::write(&file, text).expect("a file");
            let error = revocation_lists(&file).expect_err("nothing would be checked");
            assert!(error.contains(reason) && error.contains("root.crl"), "{error}");
        }
    }
}
