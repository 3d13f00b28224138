//! From an id to the directory of a complete snapshot.

use crate::cache::Cache;
use crate::download::{download, Meter, Wanted};
use crate::http::{Attempts, Client};
use crate::repository::{self, Remote, Revision, INDEX, SINGLE};
use crate::settings::Settings;
use crate::{Error, Progress, Result, Retry};
use std::path::PathBuf;

pub struct Fetched {
    pub path: PathBuf,
    /// What the user should know; mostly empty.
    pub note: String,
}

struct Job<'a> {
    client: &'a Client,
    cache: &'a Cache,
    id: &'a str,
    revision: &'a Revision,
}

impl Job<'_> {
    fn wanted(&self, file: &Remote, progress: &mut Progress) -> Result<Wanted> {
        let commit = &self.revision.commit;
        let url = repository::address(self.client, self.id, commit, &file.name);
        let mut attempts = Attempts::patient();
        let (bytes, checksum) = loop {
            match repository::look_up(self.client, &url, file) {
                Ok(found) => break found,
                Err(failure) => attempts.again(failure, 0.0, progress)?,
            }
        };
        Ok(Wanted {
            name: file.name.clone(),
            url,
            bytes,
            checksum,
        })
    }

    fn fetch(&self, files: &[Remote], progress: &mut Progress) -> Result<()> {
        let mut wanted = Vec::new();
        for file in files {
            wanted.push(self.wanted(file, progress)?);
        }
        self.check_space(&wanted)?;
        let mut meter = Meter::new(wanted.iter().map(|w| w.bytes).sum(), progress);
        for each in &wanted {
            download(self.client, self.cache, each, &mut meter)?;
            self.cache.link(&self.revision.commit, &each.name, each.checksum.hex())?;
        }
        Ok(())
    }

    fn check_space(&self, wanted: &[Wanted]) -> Result<()> {
        let missing = |each: &Wanted| {
            let checksum = each.checksum.hex();
            if self.cache.blob(checksum).exists() {
                return 0;
            }
            let there = std::fs::metadata(self.cache.incomplete(checksum)).map_or(0, |m| m.len());
            each.bytes.saturating_sub(there)
        };
        let needed: u64 = wanted.iter().map(missing).fold(0, u64::saturating_add);
        match self.cache.space() {
            Some(free) if free < needed => Err(Error::new(format!(
                "{} needs {:.2} GB more and {} has {:.2} GB free; free space, or set HF_HUB_CACHE to \
                 another disk",
                self.id,
                needed as f64 / 1e9,
                self.cache.root().display(),
                free as f64 / 1e9
            ))),
            _ => Ok(()),
        }
    }

    /// The files of the weights; the small files must be there already.
    fn weights(&self) -> Result<Vec<Remote>> {
        let files = &self.revision.files;
        let find = |name: &str| files.iter().find(|file| file.name == name).cloned();
        if let Some(single) = find(SINGLE) {
            return Ok(vec![single]);
        }
        if find(INDEX).is_none() {
            let other = files.iter().find(|file| {
                [".gguf", ".bin", ".npz", ".pt"].iter().any(|end| file.name.ends_with(end))
            });
            let has = other.map_or(String::new(), |file| format!(" (it has {})", file.name));
            let message = format!("{} has no weights as safetensors{has}; choose a version of the model that has", self.id);
            return Err(Error::new(message));
        }
        let index = self.cache.snapshot(&self.revision.commit).join(INDEX);
        let shard = |name: &String| {
            find(name).ok_or_else(|| Error::new(format!("{}: {INDEX} names {name}, which is not there", self.id)))
        };
        repository::shards(&index)?.iter().map(shard).collect()
    }

    fn run(&self, progress: &mut Progress) -> Result<PathBuf> {
        self.cache.make()?;
        let files = &self.revision.files;
        if !files.iter().any(|file| file.name == "config.json") {
            let message = format!("{} has no config.json; it is not a model that can be loaded", self.id);
            return Err(Error::new(message));
        }
        // Small files tell nothing of how far things are.
        let mut quiet = |_: f64, what: &str| progress(0.0, what);
        self.fetch(&repository::small_files(files), &mut quiet)?;
        self.fetch(&self.weights()?, progress)?;
        Ok(self.cache.snapshot(&self.revision.commit))
    }
}

fn offline(settings: &Settings, cache: &Cache, id: &str, revision: &str) -> Result<Fetched> {
    match cache.complete(revision) {
        Some(path) => Ok(Fetched {
            path,
            note: String::new(),
        }),
        None => Err(Error::new(format!(
            "{id}@{revision} is not, or not wholly, in {} and HF_HUB_OFFLINE is set; unset it, or run \
             krserve pull {id} where there is a network",
            settings.cache.display()
        ))),
    }
}

/// Asks the hub what `revision` is now and brings what is missing. A commit whose snapshot is
/// complete asks nobody; when the hub cannot be reached, a complete snapshot serves.
pub fn fetch(id: &str, revision: &str, progress: &mut Progress) -> Result<Fetched> {
    let settings = Settings::from_environment()?;
    let cache = Cache::of(&settings.cache, id);
    if settings.offline {
        return offline(&settings, &cache, id, revision);
    }
    let there = cache.complete(revision);
    if let (Some(path), true) = (&there, repository::is_commit(revision)) {
        return Ok(Fetched {
            path: path.clone(),
            note: String::new(),
        });
    }
    let client = Client::new(&settings)?;
    if !progress(0.0, "asking the hub") {
        return Err(Error::Stopped);
    }
    let attempts = match there {
        Some(_) => Attempts::new(1),
        None => Attempts::patient(),
    };
    let found = match (repository::describe(&client, id, revision, attempts, progress), there) {
        (Ok(found), _) => found,
        (Err(failure), Some(path)) if failure.retry() != Retry::Never => {
            let note = format!("{failure}; using the snapshot of {id}@{revision} that is in the cache");
            return Ok(Fetched { path, note });
        }
        (Err(failure), _) => return Err(failure),
    };
    let job = Job {
        client: &client,
        cache: &cache,
        id,
        revision: &found,
    };
    let path = job.run(progress)?;
    cache.remember(revision, &found.commit)?;
    Ok(Fetched {
        path,
        note: String::new(),
    })
}
