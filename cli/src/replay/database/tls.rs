//! Certificate authorities of database servers, and advice for rejected certificates.

use std::error::Error;
use std::path::Path;
use std::{fs, io};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, RootCertStore};

use crate::error::CliError;

/// Reads the authorities of a PEM file; without a file, the public ones.
pub fn authorities(file: Option<&Path>) -> Result<RootCertStore, CliError> {
    let mut roots = RootCertStore::empty();
    let Some(file) = file else {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        return Ok(roots);
    };
    let unusable = |what: &str| {
        CliError::usage(
            format!("--db-ca names {}, {what}", file.display()),
            "name a file with the certificates of the database's authority: \
             -----BEGIN CERTIFICATE-----, base64, -----END CERTIFICATE-----",
        )
    };
    let bytes = fs::read(file).map_err(|error| unusable("which cannot be read").caused_by(error))?;
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let wrong = "which has an invalid certificate";
        let certificate = certificate.map_err(|error| unusable(wrong).caused_by(error))?;
        roots.add(certificate).map_err(|error| unusable(wrong).caused_by(error))?;
    }
    if roots.is_empty() {
        return Err(unusable("which has no certificate"));
    }
    Ok(roots)
}

/// What to do about a rejected certificate; `None` for other errors.
pub fn advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
    Some(match refusal(error)? {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the certificate is not signed by a trusted authority: name the file of the server's authority with --db-ca \
             (for RDS, global-bundle.pem); if you did, another server may be answering in its place"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "use the host name of the certificate in --from, or install a certificate for this host"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "renew the certificate of the server, and check the clock of this machine"
        }
        _ => "install another certificate on the server",
    })
}

fn refusal<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a CertificateError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(why)) = error.downcast_ref() {
            return Some(why);
        }
        // `source` of an `io::Error` skips the error that it wraps.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}
