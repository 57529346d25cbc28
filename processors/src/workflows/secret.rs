//! Secrets: read when they are needed, never printed, never kept.
//!
//! A secret that is not there is a failure of the attempt, not of the step: the file may be mounted, or the process
//! started with the variable, before the next one. Texts name the place and never the content.

use std::fmt;
use std::io::Read;
use std::path::Path;

use crate::plan::Secret;
use crate::workflows::outside::limits;

/// The content of a secret. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// The content, for the one who sends it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hidden")
    }
}

/// Reads `secret` now: UTF-8, not empty, at most [`limits::SECRET_BYTES`].
///
/// # Errors
/// A text for a person that names the place.
pub async fn read(secret: &Secret) -> Result<Hidden, String> {
    let content = match secret {
        Secret::Env(name) => std::env::var(name).map_err(|error| match error {
            std::env::VarError::NotPresent => format!("secret `{secret}`: the variable is not set"),
            // Its `Display` shows the content.
            std::env::VarError::NotUnicode(_) => format!("secret `{secret}`: the variable is not UTF-8"),
        })?,
        Secret::File(path) => {
            let path = path.clone();
            let read = tokio::task::spawn_blocking(move || read_file(Path::new(&path)));
            let content = read.await.unwrap_or_else(|_| Err("the reader was stopped".to_owned()));
            content.map_err(|problem| format!("secret `{secret}`: {problem}"))?
        }
    };
    if content.is_empty() {
        return Err(format!("secret `{secret}` is empty"));
    }
    Ok(Hidden(content))
}

fn read_file(path: &Path) -> Result<String, String> {
    // Opening a pipe would wait for somebody to write.
    let metadata = std::fs::metadata(path).map_err(|error| format!("cannot read the file: {error}"))?;
    if !metadata.is_file() {
        return Err("not a file".to_owned());
    }
    let file = std::fs::File::open(path).map_err(|error| format!("cannot read the file: {error}"))?;
    let mut bytes = Vec::new();
    file.take(limits::SECRET_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot read the file: {error}"))?;
    if bytes.len() as u64 > limits::SECRET_BYTES {
        return Err(format!("the file has more than {} bytes", limits::SECRET_BYTES));
    }
    let text = String::from_utf8(bytes).map_err(|_| "the file is not UTF-8".to_owned())?;
    let line = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(line.to_owned())
}

/// A text with the secrets in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expanded {
    /// The whole text; hidden if it has secrets.
    pub text: Hidden,
    /// The secrets in it.
    pub secrets: Vec<Hidden>,
}

/// Reads the secrets that `text` names as `${env:NAME}` or `${file:/PATH}` and puts them in.
///
/// # Errors
/// As [`read`], or a place that is none.
pub async fn expand(text: &str) -> Result<Expanded, String> {
    let (mut whole, mut secrets) = (String::with_capacity(text.len()), Vec::new());
    for piece in pieces(text)? {
        match piece {
            Piece::Text(text) => whole.push_str(text),
            Piece::Secret(secret) => {
                let hidden = read(&secret).await?;
                whole.push_str(hidden.reveal());
                secrets.push(hidden);
            }
        }
    }
    Ok(Expanded { text: Hidden(whole), secrets })
}

/// Whether the places of secrets in `text` are well formed.
///
/// # Errors
/// A text for a person, which shows nothing of `text`.
pub fn check(text: &str) -> Result<(), String> {
    pieces(text).map(drop)
}

enum Piece<'a> {
    Text(&'a str),
    Secret(Secret),
}

fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once("${") {
        let (place, after) = after.split_once('}').ok_or("`${` without `}`")?;
        pieces.push(Piece::Text(before));
        pieces.push(Piece::Secret(Secret::try_from(place.to_owned())?));
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

#[cfg(test)]
mod tests;
