//! Acknowledgements: the highest sequence number of each shard.
//!
//! A response of ingest that stored records has the header `Pinlake-Ack: <shard>=<sequence number>[,...]`. `replay --acks`
//! writes the highest number of each shard to a file, and `wait` waits until the lake has reached them. The file is one
//! JSON object, `{"<shard>":"<sequence number>"}`.

use std::fs;
use std::io;
use std::path::Path;

use pinlake_landing::drain::Acknowledged;
use pinlake_landing::sequence::Sequence;
use serde::{Deserialize, Serialize};

use crate::atomic_file;
use crate::error::CliError;

/// The name of the header, in lower case.
pub const HEADER: &str = "pinlake-ack";

/// The highest acknowledged sequence number of each shard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Acks {
    shards: Acknowledged,
}

/// An entry that is not `<shard>=<decimal number>`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not an acknowledgement; the format is <shard>=<sequence number>")]
pub struct InvalidAck(String);

impl Acks {
    /// Reads a file of acknowledgements. A file that does not exist has none.
    pub fn load(path: &Path) -> Result<Acks, CliError> {
        let broken = |error: Box<dyn std::error::Error + Send + Sync>| {
            CliError::failed(
                format!("cannot read acknowledgements from {}", path.display()),
                "the file must be one JSON object, {\"<shard>\":\"<sequence number>\"}; name another file, or delete it",
            )
            .caused_by(error)
        };
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Acks::default()),
            Err(error) => return Err(broken(error.into())),
        };
        serde_json::from_slice(&bytes).map_err(|error| broken(error.into()))
    }

    /// Reads the acknowledgements for `wait`. It is an error if there are none: waiting for nothing proves nothing.
    pub fn load_nonempty(path: &Path) -> Result<Acks, CliError> {
        let advice = "name the file that `pinlake replay --acks` wrote, or replay again with --acks";
        if !path.exists() {
            return Err(CliError::failed(format!("{} does not exist", path.display()), advice));
        }
        let acks = Acks::load(path)?;
        if acks.shards.is_empty() {
            let what = format!("{} has no acknowledgements, so there is nothing to wait for", path.display());
            return Err(CliError::failed(what, advice));
        }
        Ok(acks)
    }

    /// Adds the value of a `Pinlake-Ack` header. An invalid or empty header adds nothing.
    pub fn add_header(&mut self, header: &str) -> Result<(), InvalidAck> {
        let mut noted = Vec::new();
        for entry in header.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let named = entry.split_once('=').filter(|(shard, _)| !shard.is_empty());
            match named.map(|(shard, number)| (shard, number.parse::<Sequence>())) {
                Some((shard, Ok(number))) => noted.push((shard, number)),
                _ => return Err(InvalidAck(entry.to_owned())),
            }
        }
        if noted.is_empty() {
            return Err(InvalidAck(header.to_owned()));
        }
        for (shard, number) in noted {
            self.raise(shard, number);
        }
        Ok(())
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Acks) {
        for (shard, number) in &other.shards {
            self.raise(shard, number.clone());
        }
    }

    /// Replaces the file.
    pub fn save(&self, path: &Path) -> Result<(), CliError> {
        atomic_file::replace_json(path, self).map_err(|error| {
            CliError::failed(
                format!("cannot write acknowledgements to {}", path.display()),
                "check that its folder exists and is writable",
            )
            .caused_by(error)
        })
    }

    /// The highest sequence number of each shard.
    pub fn acknowledged(&self) -> &Acknowledged {
        &self.shards
    }

    fn raise(&mut self, shard: &str, number: Sequence) {
        match self.shards.get_mut(shard) {
            Some(highest) => *highest = number.max(highest.clone()),
            None => {
                self.shards.insert(shard.to_owned(), number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shards(acks: &Acks) -> Vec<(&str, &str)> {
        acks.shards.iter().map(|(shard, number)| (shard.as_str(), number.as_str())).collect()
    }

    #[test]
    fn the_highest_number_of_each_shard_is_kept() {
        let mut acks = Acks::default();
        acks.add_header("shard-0=99,shard-1=5").unwrap();
        acks.add_header("shard-0=100").unwrap();
        acks.add_header("shard-0=98, shard-1=49590338271490256608559692538361571095921575989136588898")
            .unwrap();
        assert_eq!(
            shards(&acks),
            [("shard-0", "100"), ("shard-1", "49590338271490256608559692538361571095921575989136588898")]
        );
    }

    #[test]
    fn an_invalid_header_changes_nothing() {
        let mut acks = Acks::default();
        for header in ["shard-0=1,shard-1", "shard-0=12x", "=5", "shard-0=", "", " , "] {
            assert!(acks.add_header(header).is_err(), "{header}");
        }
        assert_eq!(acks, Acks::default());
    }

    #[test]
    fn a_file_is_read_back_and_merged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acks.json");
        assert_eq!(Acks::load(&path).unwrap(), Acks::default());
        let mut first = Acks::default();
        first.add_header("shard-0=20,shard-1=3").unwrap();
        first.save(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), r#"{"shard-0":"20","shard-1":"3"}"#);
        let mut second = Acks::default();
        second.add_header("shard-0=9,shard-1=4").unwrap();
        second.merge(&Acks::load(&path).unwrap());
        assert_eq!(shards(&second), [("shard-0", "20"), ("shard-1", "4")]);

        fs::write(&path, r#"{"shard-0":"x"}"#).unwrap();
        assert!(Acks::load(&path).unwrap_err().with_causes().contains("\"x\""));
    }

    #[test]
    fn waiting_for_no_acknowledgements_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acks.json");
        assert!(Acks::load_nonempty(&path).is_err());
        for text in ["", "{}", "null", "[]", "{\"shard-0\":"] {
            fs::write(&path, text).unwrap();
            assert!(Acks::load_nonempty(&path).is_err(), "{text:?}");
        }
        fs::write(&path, r#"{"shard-0":"7"}"#).unwrap();
        assert_eq!(shards(&Acks::load_nonempty(&path).unwrap()), [("shard-0", "7")]);
    }
}
