//! Who this process runs as, and which groups it and its user are in.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::files::text;

/// A user as the kernel sees this process, and as the group file would have it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UserFacts {
    pub uid: u32,
    /// Absent where the password file does not know the number (a directory service).
    pub name: Option<String>,
    /// Groups in force for this process: those of the login it came from.
    pub gids: Vec<u32>,
    /// Their names where the group file has them.
    pub groups: Vec<String>,
    /// Groups that the group file gives the user and this process does not have yet: a new login is needed.
    pub after_login: Vec<String>,
}

impl UserFacts {
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }
}

pub(super) fn read(sysroot: &Path, groups: &BTreeMap<u32, (String, Vec<String>)>) -> Option<UserFacts> {
    let status = text(&sysroot.join("proc/self/status"))?;
    let passwd = text(&sysroot.join("etc/passwd")).unwrap_or_default();
    user(&status, &passwd, groups)
}

/// From the texts of `/proc/PID/status` and `/etc/passwd`, and what [`super::groups`] made of `/etc/group`. `None`
/// where the first does not name a user.
pub fn user(status: &str, passwd: &str, groups: &BTreeMap<u32, (String, Vec<String>)>) -> Option<UserFacts> {
    let numbers = |name: &str| -> Option<Vec<u32>> {
        let rest = status.lines().find_map(|l| l.strip_prefix(name))?;
        Some(rest.split_ascii_whitespace().filter_map(|w| w.parse().ok()).collect())
    };
    // Real, effective, saved, for files: what is opened is decided by the last.
    let uid = *numbers("Uid:")?.last()?;
    let mut gids = numbers("Groups:").unwrap_or_default();
    gids.extend(numbers("Gid:").and_then(|g| g.last().copied()));
    gids.sort_unstable();
    gids.dedup();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    let known = gids.iter().filter_map(|g| groups.get(g)).map(|(name, _)| name.clone()).collect();
    let listed = |members: &[String]| name.as_ref().is_some_and(|name| members.contains(name));
    let after_login = groups
        .iter()
        .filter(|(id, (_, members))| !gids.contains(id) && listed(members))
        .map(|(_, (group, _))| group.clone())
        .collect();
    Some(UserFacts { uid, name, gids, groups: known, after_login })
}
