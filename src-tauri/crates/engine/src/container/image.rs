//! An image with one static program in it, made here: nothing is pulled.

use std::hash::{DefaultHasher, Hasher as _};

/// The tag for a program: the same bytes have the same tag.
pub(super) fn tag(program: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(program);
    format!("{:016x}", hasher.finish())
}

/// A tar archive with `name`, executable, in it.
pub(super) fn archive(name: &str, program: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut field = |at: usize, text: &str| {
        for (slot, byte) in header.iter_mut().skip(at).zip(text.bytes()) {
            *slot = byte;
        }
    };
    field(0, name);
    field(100, "0000755\0");
    field(108, "0000000\0");
    field(116, "0000000\0");
    field(124, &format!("{:011o}\0", program.len()));
    field(136, "00000000000\0");
    // The checksum counts its own field as spaces.
    field(148, "        ");
    field(156, "0");
    field(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    for (slot, byte) in header.iter_mut().skip(148).zip(format!("{sum:06o}\0 ").bytes()) {
        *slot = byte;
    }
    let mut archive = header.to_vec();
    archive.extend_from_slice(program);
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn tar_itself_unpacks_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut tar = Command::new("tar")
            .args(["-xf", "-", "-C"])
            .arg(dir.path())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let program: Vec<u8> = (0..1300_u32).map(|n| n.to_le_bytes()[0]).collect();
        tar.stdin.take().unwrap().write_all(&archive("stand-in", &program)).unwrap();
        assert!(tar.wait().unwrap().success());
        let file = dir.path().join("stand-in");
        assert_eq!(std::fs::read(&file).unwrap(), program);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o755);
        assert_ne!(tag(&program), tag(b"other"));
    }
}
