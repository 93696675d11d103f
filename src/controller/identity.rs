//! What makes a data directory this broker's: a small text file, `meta.properties`, as Kafka has one.
//!
//! Pure. It is written when a data directory has been made completely, never changed after, and read before anything else:
//! a directory of another node, of a newer Ringlog or of Apache Kafka is refused.

use crate::model::{BrokerId, ClusterId, DirectoryId};

/// Its place in the data directory.
pub const PATH: &str = "meta.properties";

/// The version of the data directory as a whole that this Ringlog makes, and the newest that it opens.
pub const FORMAT_VERSION: u32 = 1;

/// Larger than any that was ever written. Unit: bytes.
pub const BYTES_MAX: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub cluster_id: ClusterId,
    pub node_id: BrokerId,
    pub directory_id: DirectoryId,
}

/// What is wrong with the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityFault {
    #[error(
        "a data directory of a newer format: version {found}, this Ringlog knows {FORMAT_VERSION}; start the newer Ringlog, \
         or choose another directory (--data)"
    )]
    Newer { found: u32 },
    #[error("the data directory of an Apache Kafka broker; choose another one")]
    Kafka,
    #[error("line {line} is not key=value")]
    Line { line: usize },
    #[error("{key} is given twice")]
    Twice { key: &'static str },
    #[error("{key} is missing")]
    Missing { key: &'static str },
    #[error("the value of {key} is damaged")]
    Value { key: &'static str },
}

const FORMAT: &str = "ringlog.format.version";
const CLUSTER_ID: &str = "cluster.id";
const NODE_ID: &str = "node.id";
const DIRECTORY_ID: &str = "directory.id";
const KEYS: [&str; 4] = [FORMAT, CLUSTER_ID, NODE_ID, DIRECTORY_ID];

impl Identity {
    /// The file's contents.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!(
            "# Whose data this directory holds. Made by Ringlog at its first start; not to be edited.\n\
             {FORMAT}={FORMAT_VERSION}\n{CLUSTER_ID}={}\n{NODE_ID}={}\n{DIRECTORY_ID}={}\n",
            self.cluster_id, self.node_id.0, self.directory_id
        )
    }

    /// Reads the file's contents. Keys that are not known are left alone: they cannot matter within one format version.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, IdentityFault> {
        let mut values = [None; KEYS.len()];
        let mut is_kafka = false;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = line.split_once('=').ok_or(IdentityFault::Line { line: number + 1 })?;
            is_kafka |= key == "version";
            for (&known, place) in KEYS.iter().zip(&mut values) {
                if known == key && place.replace(value).is_some() {
                    return Err(IdentityFault::Twice { key: known });
                }
            }
        }
        let [format, cluster_id, node_id, directory_id] = values;
        if is_kafka && format.is_none() {
            return Err(IdentityFault::Kafka);
        }
        let found = parsed(FORMAT, format, |text| text.parse().ok())?;
        if found != FORMAT_VERSION {
            return Err(IdentityFault::Newer { found });
        }
        Ok(Self {
            cluster_id: parsed(CLUSTER_ID, cluster_id, ClusterId::parse)?,
            node_id: parsed(NODE_ID, node_id, |text| text.parse().ok().map(BrokerId))?,
            directory_id: parsed(DIRECTORY_ID, directory_id, DirectoryId::parse)?,
        })
    }
}

fn parsed<T>(
    key: &'static str,
    value: Option<&str>,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, IdentityFault> {
    let value = value.ok_or(IdentityFault::Missing { key })?;
    parse(value).ok_or(IdentityFault::Value { key })
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: Identity =
        Identity { cluster_id: ClusterId([1; 16]), node_id: BrokerId(7), directory_id: DirectoryId([2; 16]) };

    #[test]
    fn it_is_a_readable_file() {
        let text = "# Whose data this directory holds. Made by Ringlog at its first start; not to be edited.\n\
                    ringlog.format.version=1\ncluster.id=AQEBAQEBAQEBAQEBAQEBAQ\nnode.id=7\n\
                    directory.id=AgICAgICAgICAgICAgICAg\n";
        assert_eq!(IDENTITY.to_text(), text);
        assert_eq!(Identity::parse(text), Ok(IDENTITY));
        assert_eq!(Identity::parse(&format!("{text}\nsomething.new=1\n")), Ok(IDENTITY));
    }

    #[test]
    fn what_is_not_ours_or_newer_is_told_from_damage() {
        let kafka = "#\n#Tue Sep 01 10:00:00 UTC 2026\ncluster.id=x\ndirectory.id=y\nnode.id=1\nversion=1\n";
        assert_eq!(Identity::parse(kafka), Err(IdentityFault::Kafka));
        let text = IDENTITY.to_text();
        let newer = text.replace("version=1", "version=2");
        assert_eq!(Identity::parse(&newer), Err(IdentityFault::Newer { found: 2 }));
        let with = |from: &str, to: &str| Identity::parse(&text.replace(from, to)).unwrap_err();
        assert_eq!(with("node.id=7", "node.id=seven"), IdentityFault::Value { key: NODE_ID });
        assert_eq!(with("node.id=7", "node.id=7\nnode.id=7"), IdentityFault::Twice { key: NODE_ID });
        assert_eq!(with("node.id=7", "node.id"), IdentityFault::Line { line: 4 });
        assert_eq!(with("node.id=7", ""), IdentityFault::Missing { key: NODE_ID });
        assert_eq!(with("cluster.id=A", "cluster.id="), IdentityFault::Value { key: CLUSTER_ID });
        assert_eq!(Identity::parse(""), Err(IdentityFault::Missing { key: FORMAT }));
    }
}
