//! Who this Asgard is: a number that labels carry, so that another instance's agents are never taken for ours.
//!
//! It is made of what survives: with the data folder deleted, what runs is still recognised.

use std::fs;
use std::path::Path;

/// 16 hex digits of (machine, user, data folder). The same three always give the same answer.
pub fn instance_id(machine_id: &str, uid: u32, data_dir: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut text = Vec::new();
    // Zero bytes between the parts: none of them can contain one, so no two triples read the same.
    text.extend_from_slice(machine_id.trim().as_bytes());
    text.push(0);
    text.extend_from_slice(uid.to_string().as_bytes());
    text.push(0);
    text.extend_from_slice(data_dir.as_os_str().as_bytes());
    hash(&text)
}

/// FNV-1a with 64 bits, as 16 hex digits: for telling texts apart, not for keeping secrets. By hand because it is a
/// promise over years: labels of a running agent must still match after an update.
pub fn hash(bytes: &[u8]) -> String {
    let value = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{value:016x}")
}

/// The machine's own id, else the id of this boot (agents do not survive a boot), else its name.
pub fn machine_id() -> String {
    [
        "/etc/machine-id",
        "/var/lib/dbus/machine-id",
        "/proc/sys/kernel/random/boot_id",
        "/proc/sys/kernel/hostname",
    ]
    .iter()
    .filter_map(|file| fs::read_to_string(file).ok())
    .map(|text| text.trim().to_owned())
    .find(|text| !text.is_empty() && text != "uninitialized")
    .unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(hash(b""), "cbf29ce484222325");
        assert_eq!(hash(b"a"), "af63dc4c8601ec8c");
        assert_eq!(hash(b"foobar"), "85944171f73967e8");
    }

    #[test]
    fn each_part_matters_and_nothing_else() {
        let id = instance_id("m", 1000, Path::new("/d"));
        assert_eq!(id.len(), 16);
        assert_eq!(id, instance_id("m\n", 1000, Path::new("/d")));
        for other in [
            instance_id("n", 1000, Path::new("/d")),
            instance_id("m", 1001, Path::new("/d")),
            instance_id("m", 1000, Path::new("/e")),
            instance_id("m1", 0, Path::new("/d")),
        ] {
            assert_ne!(id, other);
        }
    }

    #[test]
    fn this_machine_has_an_id() {
        assert!(!machine_id().is_empty());
        assert_eq!(machine_id(), machine_id());
    }
}
