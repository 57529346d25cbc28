//! The password: read when a connection is made, never kept, never printed.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::config::{Login, PasswordPlace};
use super::limits::PASSWORD_BYTES;

/// The password of `login`; empty if it has none.
///
/// # Errors
/// A text for a person that names the place and nothing of the content.
pub(super) fn password(login: &Login) -> Result<String, String> {
    match &login.password {
        None => Ok(String::new()),
        Some(PasswordPlace::Env(name)) => std::env::var(name).map_err(|error| match error {
            std::env::VarError::NotPresent => format!("password: environment variable {name} is not set"),
            // Its `Display` shows the content.
            std::env::VarError::NotUnicode(_) => format!("password: environment variable {name} is not UTF-8"),
        }),
        Some(PasswordPlace::File(path)) => {
            read(path).map_err(|problem| format!("password: file {}: {problem}", path.display()))
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    // Opening a pipe would wait for somebody to write.
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("not a file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(PASSWORD_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > PASSWORD_BYTES {
        return Err(format!("more than {PASSWORD_BYTES} bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?;
    let line = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &Path) -> Result<String, String> {
        password(&Login { user: "u".to_owned(), password: Some(PasswordPlace::File(path.to_owned())) })
    }

    #[test]
    fn a_file_is_read_without_the_line_break_at_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        for (content, password) in [("secret\n", "secret"), ("a b\r\n", "a b"), ("x", "x"), ("", "")] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(of(&path).as_deref(), Ok(password));
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_without_its_content() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        assert!(of(&path).unwrap_err().contains("password: file /"));
        assert!(of(directory.path()).unwrap_err().ends_with("not a file"));
        std::fs::write(&path, b"se\xFFcret").unwrap();
        let error = of(&path).unwrap_err();
        assert!(error.ends_with("not UTF-8") && !error.contains("cret"), "{error}");
        let absent = PasswordPlace::Env("WEIR_TEST_NO_SUCH_VARIABLE".to_owned());
        let error = password(&Login { user: "u".to_owned(), password: Some(absent) }).unwrap_err();
        assert_eq!(error, "password: environment variable WEIR_TEST_NO_SUCH_VARIABLE is not set");
    }
}
