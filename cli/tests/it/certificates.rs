//! Temporary certificate authorities, created with `openssl`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A certificate authority.
pub struct Certificates(TempDir);

/// Paths of PEM files.
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Certificates {
    /// Creates an authority that no program trusts. `None`, with a message, if `openssl` is missing.
    pub fn new() -> Option<Certificates> {
        if Command::new("openssl").arg("version").output().is_err() {
            eprintln!("skipped: openssl is not installed; on Debian: apt install openssl");
            return None;
        }
        let authority = Certificates(tempfile::tempdir().unwrap());
        authority.make("ca", "basicConstraints = critical,CA:TRUE", &[]);
        Some(authority)
    }

    /// The certificate of the authority.
    pub fn authority(&self) -> PathBuf {
        self.files("ca").certificate
    }

    /// Creates a certificate for a host name.
    pub fn of_host(&self, host: &str) -> Files {
        let by = self.files("ca");
        let by: [&Path; 4] = ["-CA".as_ref(), &by.certificate, "-CAkey".as_ref(), &by.key];
        self.make("host", &format!("basicConstraints = critical,CA:FALSE\nsubjectAltName = DNS:{host}"), &by);
        self.files("host")
    }

    fn files(&self, name: &str) -> Files {
        let file = |ending| self.0.path().join(name).with_extension(ending);
        Files { certificate: file("pem"), key: file("key") }
    }

    fn make(&self, name: &str, extensions: &str, by: &[&Path]) {
        let settings = self.0.path().join("settings");
        // The name is unique, so that a certificate of another authority is an unknown issuer, not a bad signature.
        let whose = self.0.path().file_name().unwrap().display();
        let text =
            format!("[req]\ndistinguished_name = dn\nprompt = no\n[dn]\nCN = {name} of {whose}\n[ext]\n");
        fs::write(&settings, text + extensions + "\n").unwrap();
        let Files { certificate, key } = self.files(name);
        let kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
        let made = Command::new("openssl")
            .args(["req", "-x509", "-extensions", "ext", "-config"])
            .arg(settings)
            .args(kind)
            .args(by)
            .arg("-keyout")
            .arg(key)
            .arg("-out")
            .arg(certificate)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
}
