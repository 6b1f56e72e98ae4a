//! What the kernel's files say about control groups. Nothing here opens one.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

/// A control group whose quota holds for this process.
#[derive(Debug, PartialEq)]
pub(super) struct Group {
    pub(super) version: Version,
    /// Its directory.
    pub(super) path: PathBuf,
}

/// The two interfaces of the kernel, which can be mounted beside each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Version {
    One,
    Two,
}

/// All groups with a say about this process's CPU time, as far as they are mounted. `mounts` is the content of
/// `/proc/self/mountinfo`, `member` that of `/proc/self/cgroup`.
pub(super) fn groups(mounts: &[u8], member: &[u8]) -> Vec<Group> {
    let mounts: Vec<Mount> = lines(mounts).filter_map(Mount::parse).collect();
    let mut groups = Vec::new();
    for (index, mount) in mounts.iter().enumerate() {
        let Some(version) = mount.version else { continue };
        // A later mount on the same directory hides this one.
        if mounts[index + 1..].iter().any(|later| later.point == mount.point) {
            continue;
        }
        let Some(own) = lines(member).find_map(|line| membership(line, version)) else { continue };
        let Some(below) = below_mount(&mount.root, &own) else { continue };
        let lowest = mount.point.join(below);
        let visible = lowest.ancestors().take_while(|path| path.starts_with(&mount.point));
        groups.extend(visible.map(|path| Group { version, path: path.to_owned() }));
    }
    groups
}

/// The quota of `cpu.max`: "quota period" in microseconds, or "max" for none.
pub(super) fn quota_v2(content: &[u8]) -> Option<usize> {
    let mut words = words(content);
    let quota = words.next()?;
    // The kernel writes both, but accepts the quota alone, with this period.
    let period = words.next().unwrap_or(b"100000");
    share(quota, period)
}

/// The quota of `cpu.cfs_quota_us` (-1 for none) and `cpu.cfs_period_us`.
pub(super) fn quota_v1(quota: &[u8], period: &[u8]) -> Option<usize> {
    share(quota.trim_ascii(), period.trim_ascii())
}

/// Rounded up, since half a CPU still needs a worker to use it.
fn share(quota: &[u8], period: &[u8]) -> Option<usize> {
    let number = |text: &[u8]| str::from_utf8(text).ok()?.parse::<u64>().ok().filter(|number| *number > 0);
    usize::try_from(number(quota)?.div_ceil(number(period)?)).ok()
}

/// One line of mountinfo, as far as it matters here.
struct Mount {
    /// The version, if it is a mount of control groups that limit CPU time.
    version: Option<Version>,
    /// The group that is mounted, which in a container need not be the topmost one.
    root: PathBuf,
    /// Where it is mounted.
    point: PathBuf,
}

impl Mount {
    /// `id parent major:minor root point options [optional ...] - type source super-options`
    fn parse(line: &[u8]) -> Option<Mount> {
        let mut words = words(line);
        let (root, point) = (unescape(words.nth(3)?), unescape(words.next()?));
        words.find(|word| word == b"-")?;
        let (kind, options) = (words.next()?, words.nth(1)?);
        let version = match kind {
            b"cgroup2" => Some(Version::Two),
            b"cgroup" if names_cpu(options) => Some(Version::One),
            _ => None,
        };
        Some(Mount { version, root, point })
    }
}

/// The path in a line of `/proc/self/cgroup`, which is `id:controllers:path`, if it is about this version.
fn membership(line: &[u8], version: Version) -> Option<PathBuf> {
    let mut fields = line.splitn(3, |byte| *byte == b':');
    let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let applies = match version {
        Version::One => names_cpu(controllers),
        Version::Two => id == b"0" && controllers.is_empty(),
    };
    applies.then(|| PathBuf::from(OsString::from_vec(path.to_vec())))
}

/// Where the group `own` is below a mount of the group `root`. None if it is elsewhere: the mount says nothing then.
fn below_mount(root: &Path, own: &Path) -> Option<PathBuf> {
    if let Ok(below) = own.strip_prefix(root) {
        let climbs = below.components().any(|part| part == Component::ParentDir);
        return (!climbs).then(|| below.to_owned());
    }
    // A mount from outside of this process's namespace begins above the namespace's own root. What is in between
    // has no name in here, but the mounted group itself does hold.
    let ups = |path: &Path| path.components().filter(|part| *part == Component::ParentDir).count();
    let only_up = root.components().skip(1).all(|part| part == Component::ParentDir);
    (only_up && ups(own) < ups(root)).then(PathBuf::new)
}

fn names_cpu(list: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|name| name == b"cpu")
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// A path of mountinfo, where blanks and backslashes are a backslash and three octal digits.
fn unescape(word: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(word.len());
    let mut rest = word;
    while let [byte, after @ ..] = rest {
        match *rest {
            [b'\\', high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7', ..] => {
                path.push(((high - b'0') << 6) | ((middle - b'0') << 3) | (low - b'0'));
                rest = &rest[4..];
            }
            _ => {
                path.push(*byte);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(path))
}
