//! Who asks, as the kernel says it.

use std::io;
use std::mem::size_of;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{Gid, Group, Uid, User, geteuid};
use tokio::net::UnixStream;

use super::GROUP;
use crate::api::Failure;

/// The longest name of a user that is believed.
const LONGEST_NAME: usize = 64;
/// For so many groups there is room at first; few users are in more.
const GROUPS: usize = 64;

/// Who is at the other end, as of when he connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peer {
    pub uid: Uid,
    gid: Gid,
    pub pid: Option<i32>,
    groups: Vec<libc::gid_t>,
}

impl Peer {
    /// Asks the kernel.
    ///
    /// Also for the groups: the lists of the host's users say in which a user would be if he logged in now, and may
    /// have to be fetched over the network.
    pub(super) fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self {
            uid: Uid::from_raw(credentials.uid()),
            gid: Gid::from_raw(credentials.gid()),
            pid: credentials.pid(),
            groups: groups(stream)?,
        })
    }

    /// Whether he may change something.
    ///
    /// # Errors
    /// What he is told where he may not.
    pub(super) fn may_change(&self, group: Option<Gid>) -> Result<(), Failure> {
        let member =
            |group: Gid| self.gid == group || self.groups.iter().any(|g| *g == group.as_raw());
        if self.uid.is_root() || self.uid == geteuid() || group.is_some_and(member) {
            return Ok(());
        }
        let group = group.map(|group| {
            let name = Group::from_gid(group).ok().flatten().map(|g| g.name);
            name.unwrap_or_else(|| group.to_string())
        });
        let why = match group {
            Some(group) => format!(
                "user {} is not in group {group}, and only its members and root may change something: \
                 have root add you to it and log in again, or use sudo",
                self.uid
            ),
            None => format!(
                "only root may change something, for this host has no group {GROUP}: use sudo"
            ),
        };
        Err(Failure::from(why).denied())
    }

    /// His name, his number where he has none. May wait for whoever keeps the names.
    pub(super) fn name(&self) -> String {
        match User::from_uid(self.uid) {
            Ok(Some(user)) => user.name,
            Ok(None) | Err(_) => self.uid.to_string(),
        }
    }

    /// Whom to write down as the one who asked: behind root, whoever became root for it, as root says.
    pub(super) fn actor(&self, name: &str, on_behalf_of: Option<&str>) -> String {
        match on_behalf_of.filter(|other| self.uid.is_root() && is_name(other)) {
            Some(other) => format!("{name} (sudo: {other})"),
            None => name.to_owned(),
        }
    }
}

/// Whether it can be the name of a user, and cannot be taken for anything else where it is printed.
fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "._-@\\+$".contains(c);
    !text.is_empty() && text.len() <= LONGEST_NAME && text.chars().all(plain)
}

/// The supplementary groups of who is at the other end.
fn groups(stream: &UnixStream) -> io::Result<Vec<libc::gid_t>> {
    const EACH: usize = size_of::<libc::gid_t>();
    let mut groups: Vec<libc::gid_t> = vec![0; GROUPS];
    loop {
        let room = groups.len() * EACH;
        let mut length = libc::socklen_t::try_from(room).map_err(io::Error::other)?;
        // SAFETY: the descriptor is open, and the kernel writes at most `length` bytes, for which there is room.
        let asked = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let needed = usize::try_from(length).map_err(io::Error::other)? / EACH;
        match Errno::result(asked) {
            Ok(_) => {
                groups.truncate(needed);
                return Ok(groups);
            }
            Err(Errno::ERANGE) if needed > groups.len() => groups.resize(needed, 0),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(uid: u32, gid: u32, groups: &[u32]) -> Peer {
        Peer {
            uid: Uid::from_raw(uid),
            gid: Gid::from_raw(gid),
            pid: None,
            groups: groups.to_vec(),
        }
    }

    #[test]
    fn only_root_and_the_group_may_change() {
        let group = Some(Gid::from_raw(700));
        assert!(peer(0, 0, &[]).may_change(None).is_ok());
        assert!(peer(4_000, 700, &[]).may_change(group).is_ok());
        assert!(peer(4_000, 1, &[5, 700]).may_change(group).is_ok());
        let refused = peer(4_000, 1, &[5]).may_change(group).unwrap_err();
        assert!(refused.error.contains("not in group 700"), "{refused}");
        let refused = peer(4_000, 700, &[]).may_change(None).unwrap_err();
        assert!(refused.error.contains("only root"), "{refused}");
        let own = peer(geteuid().as_raw(), 1, &[]);
        assert!(own.may_change(None).is_ok());
    }

    #[test]
    fn only_root_is_believed_whom_he_acts_for() {
        let (root, user) = (peer(0, 0, &[]), peer(4_000, 1, &[]));
        assert_eq!(root.actor("root", Some("jane")), "root (sudo: jane)");
        assert_eq!(user.actor("joe", Some("jane")), "joe");
        assert_eq!(root.actor("root", None), "root");
        for odd in ["", "a b", "a)\n", "\u{1b}[31m", &"x".repeat(65)] {
            assert_eq!(root.actor("root", Some(odd)), "root", "{odd:?}");
        }
    }
}
