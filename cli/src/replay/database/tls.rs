//! By what a server proves that it is the one that was asked for: whose word counts, and what a refusal means.

use std::error::Error;
use std::path::Path;
use std::{fs, io};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, RootCertStore};

use crate::error::CliError;

/// The authorities whose certificates are in a PEM file; without one, the public ones.
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
        let wrong = "which holds a certificate that is broken";
        let certificate = certificate.map_err(|error| unusable(wrong).caused_by(error))?;
        roots.add(certificate).map_err(|error| unusable(wrong).caused_by(error))?;
    }
    if roots.is_empty() {
        return Err(unusable("which holds no certificate"));
    }
    Ok(roots)
}

/// What to do about a server whose certificate was refused; `None` if it was not that which went wrong.
pub fn advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
    Some(match refusal(error)? {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "nobody that is trusted here vouches for this server: name the file of its authority's certificates with \
             --db-ca (for RDS, global-bundle.pem); if that is what you did, somebody else may answer in the server's place"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "write the host in --from as the certificate has it, or give the server a certificate for this host"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "give the server a new certificate, and look at this machine's clock"
        }
        _ => "give the server another certificate",
    })
}

fn refusal<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a CertificateError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(why)) = error.downcast_ref() {
            return Some(why);
        }
        // It passes over the error that it wraps and gives that one's source.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}
