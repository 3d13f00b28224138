//! The cache's folders, as huggingface_hub lays them out:
//!
//!     models--owner--name/refs/main                  the commit that main was when last seen
//!                         blobs/CHECKSUM             contents; CHECKSUM.incomplete while it comes
//!                         snapshots/COMMIT/FILE  ->  ../../blobs/CHECKSUM
//!     .locks/models--owner--name/CHECKSUM.lock       flock of who downloads it

use crate::repository::{is_commit, shards, INDEX, SINGLE};
use crate::{Error, Progress, Result};
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub struct Cache {
    root: PathBuf,
    locks: PathBuf,
}

/// Held until dropped.
pub struct Lock(#[allow(dead_code)] File);

fn failed(what: &str, path: &Path, error: &io::Error) -> Error {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; check its permissions, or set HF_HUB_CACHE to a place that can be written"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free space, or set HF_HUB_CACHE to another disk: what has been fetched stays there"
        }
        _ => "",
    };
    Error::new(format!("{} cannot be {what}: {error}{remedy}", path.display()))
}

pub fn written(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    move |error| failed("written", path, &error)
}

pub fn read(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    move |error| failed("read", path, &error)
}

fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(written(path))
}

impl Cache {
    pub fn of(cache: &Path, id: &str) -> Cache {
        let name = format!("models--{}", id.replace('/', "--"));
        Cache {
            locks: cache.join(".locks").join(&name),
            root: cache.join(name),
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn make(&self) -> Result<()> {
        make_folder(&self.blobs())
    }

    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    pub fn blob(&self, checksum: &str) -> PathBuf {
        self.blobs().join(checksum)
    }

    pub fn incomplete(&self, checksum: &str) -> PathBuf {
        self.blobs().join(format!("{checksum}.incomplete"))
    }

    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    /// The commit that `revision` stands for, as last seen.
    pub fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_string());
        }
        let text = fs::read_to_string(self.root.join("refs").join(revision)).ok()?;
        Some(text.trim().to_string()).filter(|commit| is_commit(commit))
    }

    /// The snapshot of `revision` if everything that a model needs is there.
    pub fn complete(&self, revision: &str) -> Option<PathBuf> {
        let folder = self.snapshot(&self.commit(revision)?);
        let weights = || {
            if folder.join(SINGLE).exists() {
                return true;
            }
            let shards = shards(&folder.join(INDEX)).unwrap_or_default();
            !shards.is_empty() && shards.iter().all(|name| folder.join(name).exists())
        };
        (folder.join("config.json").exists() && weights()).then_some(folder)
    }

    /// `snapshots/COMMIT/name` becomes a link to the blob; a wrong one is replaced.
    pub fn link(&self, commit: &str, name: &str, checksum: &str) -> Result<()> {
        let folder = self.snapshot(commit);
        make_folder(&folder)?;
        let link = folder.join(name);
        let target = Path::new("../../blobs").join(checksum);
        if fs::read_link(&link).is_ok_and(|found| found == target) {
            return Ok(());
        }
        // Made beside it and moved: a reader never finds nothing.
        let fresh = folder.join(format!(".{name}.{}", std::process::id()));
        let _ = fs::remove_file(&fresh);
        symlink(&target, &fresh).map_err(written(&fresh))?;
        fs::rename(&fresh, &link).map_err(written(&link))
    }

    pub fn remember(&self, revision: &str, commit: &str) -> Result<()> {
        if revision == commit {
            return Ok(());
        }
        let path = self.root.join("refs").join(revision);
        if let Some(parent) = path.parent() {
            make_folder(parent)?;
        }
        fs::write(&path, commit).map_err(written(&path))
    }

    /// Waits until nobody else, in whatever program, downloads this blob.
    pub fn lock(&self, checksum: &str, progress: &mut Progress) -> Result<Lock> {
        make_folder(&self.locks)?;
        let path = self.locks.join(format!("{checksum}.lock"));
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true);
        let file = options.open(&path).map_err(written(&path))?;
        // SAFETY: the descriptor is open as long as `file` lives.
        while unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::WouldBlock && error.kind() != io::ErrorKind::Interrupted {
                return Err(failed("locked", &path, &error));
            }
            if !progress(0.0, "waiting for another program that downloads this model") {
                return Err(Error::Stopped);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(Lock(file))
    }

    /// Bytes that this user may still write; None where the system does not tell.
    pub fn space(&self) -> Option<u64> {
        let path = CString::new(self.blobs().as_os_str().as_bytes()).ok()?;
        let mut found = std::mem::MaybeUninit::<libc::statvfs>::uninit();
        // SAFETY: a terminated path, and room for the result, which is read only when it was written.
        let found = unsafe {
            if libc::statvfs(path.as_ptr(), found.as_mut_ptr()) != 0 {
                return None;
            }
            found.assume_init()
        };
        #[allow(clippy::unnecessary_cast)] // the fields' types differ from system to system
        Some((found.f_bavail as u64).saturating_mul(found.f_frsize as u64))
    }
}
