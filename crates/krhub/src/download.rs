//! One file into its blob: resumed where it broke off, checked, and tried again.

use crate::cache::{read, written, Cache};
use crate::http::{header, Attempts, Client, Method};
use crate::repository::Checksum;
use crate::{Error, Progress, Result};
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

const BUFFER: usize = 256 * 1024;
const TELL_EVERY: Duration = Duration::from_millis(100);

pub struct Wanted {
    pub name: String,
    pub url: String,
    pub bytes: u64,
    pub checksum: Checksum,
}

/// How far all files of a model are; one file adds to it.
pub struct Meter<'a, 'b> {
    pub done: u64,
    pub total: u64,
    pub progress: &'a mut Progress<'b>,
    last: Option<Instant>,
}

fn gigabytes(bytes: u64) -> String {
    match bytes {
        0..=999_999 => format!("{:.0} kB", bytes as f64 / 1e3),
        1_000_000..=999_999_999 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

impl<'a, 'b> Meter<'a, 'b> {
    pub fn new(total: u64, progress: &'a mut Progress<'b>) -> Self {
        Meter {
            done: 0,
            total,
            progress,
            last: None,
        }
    }

    pub fn fraction(&self) -> f64 {
        match self.total {
            0 => 0.0,
            total => (self.done as f64 / total as f64).min(1.0),
        }
    }

    fn tell(&mut self, name: &str) -> Result<()> {
        if self.last.is_some_and(|last| last.elapsed() < TELL_EVERY) {
            return Ok(());
        }
        self.last = Some(Instant::now());
        let what = format!("{name}, {} of {}", gigabytes(self.done), gigabytes(self.total));
        let fraction = self.fraction();
        match (self.progress)(fraction, &what) {
            true => Ok(()),
            false => Err(Error::Stopped),
        }
    }
}

/// The digest of a file that grows, and may start again.
struct Digest<'a> {
    checksum: &'a Checksum,
    bytes: u64,
    context: Context,
}

impl<'a> Digest<'a> {
    fn new(wanted: &'a Wanted) -> Self {
        let context = match wanted.checksum {
            Checksum::Sha256(_) => Context::new(&SHA256),
            Checksum::Git(_) => {
                let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
                context.update(format!("blob {}\0", wanted.bytes).as_bytes());
                context
            }
        };
        Digest {
            checksum: &wanted.checksum,
            bytes: 0,
            context,
        }
    }

    fn update(&mut self, content: &[u8]) {
        self.context.update(content);
        self.bytes += content.len() as u64;
    }

    fn matches(self) -> bool {
        let digest = self.context.finish();
        let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        hex == self.checksum.hex()
    }
}

/// Opens what an earlier attempt, of whatever program, has left, and takes it into the digest.
fn open<'a>(path: &Path, wanted: &'a Wanted, meter: &mut Meter) -> Result<(File, Digest<'a>)> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    let mut file = options.open(path).map_err(written(path))?;
    let mut digest = Digest::new(wanted);
    if file.metadata().map_err(read(path))?.len() > wanted.bytes {
        file.set_len(0).map_err(written(path))?;
    }
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = file.read(&mut buffer).map_err(read(path))?;
        if count == 0 {
            return Ok((file, digest));
        }
        digest.update(&buffer[..count]);
        meter.done += count as u64;
        meter.tell(&wanted.name)?;
    }
}

struct Transfer<'a, 'b, 'c> {
    client: &'a Client,
    wanted: &'a Wanted,
    path: &'a Path,
    file: File,
    digest: Digest<'a>,
    meter: &'a mut Meter<'b, 'c>,
}

impl Transfer<'_, '_, '_> {
    fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(written(self.path))?;
        self.file.seek(SeekFrom::Start(0)).map_err(written(self.path))?;
        self.meter.done -= self.digest.bytes;
        self.digest = Digest::new(self.wanted);
        Ok(())
    }

    fn take(&mut self, content: &[u8]) -> Result<()> {
        let left = self.wanted.bytes - self.digest.bytes;
        if content.len() as u64 > left {
            self.restart()?;
            let message = format!("{} is longer than the {} bytes it should have", self.wanted.name, self.wanted.bytes);
            return Err(Error::passing(message));
        }
        self.file.write_all(content).map_err(written(self.path))?;
        self.digest.update(content);
        self.meter.done += content.len() as u64;
        self.meter.tell(&self.wanted.name)
    }

    /// One request for what is still missing.
    fn attempt(&mut self) -> Result<()> {
        let wanted = self.wanted;
        let from = self.digest.bytes;
        if from == wanted.bytes {
            return Ok(());
        }
        let response = self.client.request(Method::Get, &wanted.url, from, &wanted.name)?;
        let starts = header(&response, "content-range").unwrap_or_default();
        let continues = response.status() == 206 && starts.starts_with(&format!("bytes {from}-"));
        if from > 0 && !continues {
            self.restart()?; // the server sends all of it, or refuses the range
            if response.status() != 200 {
                let message = format!("{}: the server does not resume at byte {from}", wanted.name);
                return Err(Error::passing(message));
            }
        }
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = body.read(&mut buffer).map_err(|e| self.broken(e.to_string()))?;
            if count == 0 {
                break;
            }
            self.take(&buffer[..count])?;
        }
        match self.digest.bytes == wanted.bytes {
            true => Ok(()),
            false => Err(self.broken("the connection was closed".to_string())),
        }
    }

    fn broken(&self, why: String) -> Error {
        let (name, at, all) = (&self.wanted.name, self.digest.bytes, self.wanted.bytes);
        Error::passing(format!("{name} broke off at {at} of {all} bytes: {why}"))
    }

    fn run(mut self) -> Result<bool> {
        let mut attempts = Attempts::patient();
        loop {
            let before = self.digest.bytes;
            let Err(failure) = self.attempt() else {
                self.file.sync_all().map_err(written(self.path))?;
                return Ok(self.digest.matches());
            };
            if self.digest.bytes > before {
                attempts.reset();
            }
            let fraction = self.meter.fraction();
            attempts.again(failure, fraction, &mut *self.meter.progress)?;
        }
    }
}

/// Makes the blob be there, whole and checked. A wrong checksum drops what was fetched and tries once
/// more from the start.
pub fn download(client: &Client, cache: &Cache, wanted: &Wanted, meter: &mut Meter) -> Result<()> {
    let checksum = wanted.checksum.hex();
    let blob = cache.blob(checksum);
    if !blob.exists() {
        let _lock = cache.lock(checksum, &mut *meter.progress)?;
        if !blob.exists() {
            let path = cache.incomplete(checksum);
            return fetch(client, wanted, &path, &blob, meter);
        }
    }
    meter.done += wanted.bytes;
    Ok(())
}

fn fetch(client: &Client, wanted: &Wanted, path: &Path, blob: &Path, meter: &mut Meter) -> Result<()> {
    let before = meter.done;
    for _ in 0..2 {
        let (file, digest) = open(path, wanted, meter)?;
        let transfer = Transfer {
            client,
            wanted,
            path,
            file,
            digest,
            meter: &mut *meter,
        };
        if transfer.run()? {
            return fs::rename(path, blob).map_err(written(blob));
        }
        fs::remove_file(path).map_err(written(path))?;
        meter.done = before;
    }
    Err(Error::new(format!(
        "{}: the content does not match its checksum {} ({} bytes), twice; what was fetched is dropped: \
         try again, or look for a proxy that changes it",
        wanted.name,
        wanted.checksum.hex(),
        wanted.bytes
    )))
}
