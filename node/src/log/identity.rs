//! Who the node of a directory is: the file `node`.
//!
//! A person may read it, so it is text. A person may not change it, so it has a checksum: two nodes of one id, or a
//! node that changes its group on its own, would do harm that shows much later.
//!
//! ```text
//! # The identity of the node whose directory this is. Written by the node; neither change nor copy it.
//! format = 1
//! node-id = 5eb63bbbe01eeed0
//! name = "alpha"
//! group = "main"
//! group-id = 93cb22bb8f5acdc3
//! crc = 4f2ca1b5
//! ```

use std::str::FromStr;

use shared::id::{GroupId, NodeId};

use super::disk::{Disk, DiskError, read_whole, replace};

/// Who a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Drawn when the directory was made.
    pub(crate) node_id: NodeId,
    /// The name under which the directory was made. The configured one may differ.
    pub(crate) name: String,
    /// The group's name; none before an agent gave one.
    pub(crate) group: Option<String>,
    /// The group's id; zero before the node met anyone.
    pub(crate) group_id: GroupId,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The file is not what a node wrote.
    #[error(
        "the file {FILE}, which says who the node of this directory is, was changed or damaged ({0}): restore it from a \
         copy, or move the directory away and start the node empty, so that it joins its group as a new node"
    )]
    Damaged(&'static str),
    /// It was written by another build.
    #[error(
        "the file {FILE} has the format {0}, which this build does not read: start the build that wrote it"
    )]
    Format(String),
    /// A name cannot be recorded. The file is as before.
    #[error("{0:?} cannot be a name: names are of 1 to {NAME_BYTES_MAX} bytes, without control characters")]
    Name(String),
}

const FILE: &str = "node";
const FORMAT: &str = "1";
const HEAD: &str =
    "# The identity of the node whose directory this is. Written by the node; neither change nor copy it.\n";

/// The longest name of a node or group, in bytes; longer ones are refused.
const NAME_BYTES_MAX: usize = 255;

impl Identity {
    /// Loads the identity of a directory; a new directory's node gets this name and the random id, durably.
    ///
    /// A recorded name is returned as it is, even if `name` is another.
    ///
    /// # Errors
    /// [`IdentityError`], saying what to do.
    pub(crate) fn load_or_create<D: Disk>(
        disk: &D,
        name: &str,
        random: NodeId,
    ) -> Result<Self, IdentityError> {
        // What was renamed into place by a process that then died must not be seen now and be gone later.
        disk.sync_directory()?;
        if let Some(bytes) = read_whole(disk, FILE)? {
            return Self::decode(&bytes);
        }
        let created =
            Self { node_id: random, name: name.to_owned(), group: None, group_id: GroupId::default() };
        created.create(disk)?;
        Ok(created)
    }

    /// Makes it the identity of a directory that has none, durably.
    ///
    /// # Errors
    /// [`IdentityError`], saying what to do.
    pub(crate) fn create<D: Disk>(&self, disk: &D) -> Result<(), IdentityError> {
        checked(&self.name)?;
        Ok(replace(disk, FILE, self.encode().as_bytes())?)
    }

    /// Records what has changed of the node's id and group, durably.
    ///
    /// # Errors
    /// [`IdentityError`]; then `self` is as before, though the disk may already have the change.
    pub(crate) fn change<D: Disk>(
        &mut self,
        disk: &D,
        node_id: NodeId,
        group: Option<&str>,
        group_id: GroupId,
    ) -> Result<(), IdentityError> {
        let changed = Self { node_id, group: group.map(checked).transpose()?, group_id, ..self.clone() };
        if changed != *self {
            replace(disk, FILE, changed.encode().as_bytes())?;
            *self = changed;
        }
        Ok(())
    }

    fn encode(&self) -> String {
        let group =
            self.group.as_ref().map(|group| format!("group = {}\n", quote(group))).unwrap_or_default();
        let text = format!(
            "{HEAD}format = {FORMAT}\nnode-id = {}\nname = {}\n{group}group-id = {}\n",
            self.node_id,
            quote(&self.name),
            self.group_id
        );
        let crc = crc32fast::hash(text.as_bytes());
        format!("{text}crc = {crc:08x}\n")
    }

    fn decode(bytes: &[u8]) -> Result<Self, IdentityError> {
        use IdentityError::Damaged;
        let text = std::str::from_utf8(bytes).map_err(|_| Damaged("it is not UTF-8"))?;
        let end = text.rfind("crc = ").ok_or(Damaged("it has no checksum"))?;
        let crc = u32::from_str_radix(text[end..]["crc = ".len()..].trim_end(), 16);
        if crc != Ok(crc32fast::hash(&bytes[..end])) {
            return Err(Damaged("its checksum does not match"));
        }
        let fields = Fields(&text[..end]);
        match fields.get("format") {
            Some(FORMAT) => {}
            format => return Err(IdentityError::Format(format.unwrap_or_default().to_owned())),
        }
        Ok(Self {
            node_id: fields.id("node-id")?,
            name: fields.name("name")?.ok_or(Damaged("it has no name"))?,
            group: fields.name("group")?,
            group_id: fields.id("group-id")?,
        })
    }
}

fn checked(name: &str) -> Result<String, IdentityError> {
    let is_fine = (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control);
    if is_fine { Ok(name.to_owned()) } else { Err(IdentityError::Name(name.to_owned())) }
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The lines `key = value` of the file.
struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    fn get(&self, key: &str) -> Option<&'a str> {
        self.0
            .lines()
            .filter_map(|line| line.split_once(" = "))
            .find(|(found, _)| *found == key)
            .map(|(_, value)| value)
    }

    fn id<T: FromStr>(&self, key: &str) -> Result<T, IdentityError> {
        let id = self.get(key).and_then(|value| value.parse().ok());
        id.ok_or(IdentityError::Damaged("an id is missing or malformed"))
    }

    fn name(&self, key: &str) -> Result<Option<String>, IdentityError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let quoted = quoted.ok_or(IdentityError::Damaged("a name is not in quotes"))?;
        let mut name = String::with_capacity(quoted.len());
        let mut characters = quoted.chars();
        while let Some(character) = characters.next() {
            name.push(if character == '\\' { characters.next().unwrap_or('\\') } else { character });
        }
        Ok(Some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::simulated::{Crash, SimulatedDisk};
    use super::*;

    fn load(disk: &SimulatedDisk, random: u64) -> Result<Identity, IdentityError> {
        Identity::load_or_create(disk, "alpha", NodeId(random))
    }

    fn join(identity: &mut Identity, disk: &SimulatedDisk, group_id: GroupId) -> Result<(), IdentityError> {
        identity.change(disk, identity.node_id, Some("main"), group_id)
    }

    #[test]
    fn is_drawn_once_and_kept() {
        let disk = SimulatedDisk::new(1);
        let created = load(&disk, 7).unwrap();
        assert_eq!(created.node_id, NodeId(7));
        disk.restart(Crash::Power);
        assert_eq!(load(&disk, 8).unwrap(), created);
    }

    #[test]
    fn the_recorded_name_is_returned_when_another_is_configured() {
        let disk = SimulatedDisk::new(1);
        load(&disk, 7).unwrap();
        assert_eq!(Identity::load_or_create(&disk, "beta", NodeId(8)).unwrap().name, "alpha");
    }

    #[test]
    fn any_name_round_trips() {
        for name in ["a", " a ", "\"", "\\", "a\\\"b = c", "crc = 0", "\u{1f980}"] {
            let disk = SimulatedDisk::new(1);
            let mut identity = Identity::load_or_create(&disk, name, NodeId(7)).unwrap();
            assert_eq!(load(&disk, 8).unwrap(), identity);
            identity.change(&disk, identity.node_id, Some(name), GroupId(9)).unwrap();
            assert_eq!(load(&disk, 8).unwrap(), identity);
            assert_eq!(identity.group.as_deref(), Some(name));
        }
        let disk = SimulatedDisk::new(1);
        for name in ["", "a\nb", "\u{7f}", &"x".repeat(256)] {
            let error = Identity::load_or_create(&disk, name, NodeId(7)).unwrap_err();
            assert!(matches!(error, IdentityError::Name(_)), "{error}");
        }
    }

    #[test]
    fn the_format_is_pinned() {
        let group = Some("main".to_owned());
        let identity = Identity { node_id: NodeId(0xabc), name: "alpha".into(), group, group_id: GroupId(5) };
        let lines = "format = 1\nnode-id = 0000000000000abc\nname = \"alpha\"\ngroup = \"main\"\n\
                     group-id = 0000000000000005\ncrc = 1b93ee0c\n";
        assert_eq!(identity.encode(), format!("{HEAD}{lines}"));
    }

    #[test]
    fn any_changed_byte_is_refused() {
        let disk = SimulatedDisk::new(1);
        join(&mut load(&disk, 7).unwrap(), &disk, GroupId(9)).unwrap();
        let bytes = disk.contents(FILE).unwrap();
        for at in 0..bytes.len() as u64 - 1 {
            for mask in [0x01, 0x02, 0x80] {
                disk.damage(FILE, at, mask);
                let error = load(&disk, 8).unwrap_err().to_string();
                assert!(error.contains("file node") && error.contains("restore it"), "{error}");
                disk.damage(FILE, at, mask);
            }
        }
        for length in 0..bytes.len() - 1 {
            disk.put(FILE, &bytes[..length]);
            load(&disk, 8).unwrap_err();
        }
    }

    #[test]
    fn a_file_of_another_format_is_refused() {
        let disk = SimulatedDisk::new(1);
        let text = "format = 2\n";
        disk.put(FILE, format!("{text}crc = {:08x}\n", crc32fast::hash(text.as_bytes())).as_bytes());
        assert!(matches!(load(&disk, 8), Err(IdentityError::Format(format)) if format == "2"));
    }

    /// Once an id was returned, no crash brings back the time before it: other nodes may have heard it.
    #[test]
    fn what_was_returned_survives_a_crash_at_every_operation() {
        for seed in 0..400 {
            let disk = SimulatedDisk::new(seed);
            let mut known: Option<Identity> = None;
            for life in 1..8_u64 {
                disk.crash_at(disk.operations() + (seed * life) % 11);
                if let Ok(mut identity) = load(&disk, life) {
                    if let Some(known) = &known {
                        assert_eq!((identity.node_id, &identity.name), (known.node_id, &known.name));
                        assert!(identity.group_id >= known.group_id, "{identity:?} {known:?}");
                    }
                    known = Some(identity.clone());
                    if join(&mut identity, &disk, GroupId(life)).is_ok() {
                        known = Some(identity);
                    }
                }
                disk.restart(if (seed + life) % 3 == 0 { Crash::Process } else { Crash::Power });
            }
        }
    }
}
