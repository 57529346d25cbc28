use std::sync::Mutex;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::*;
use crate::workflows::outside::testing::{attempt, clock, plan};

/// A server that answers the recipient as it is told, and a login with 535. It remembers what it was sent.
async fn server(recipient: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = lines.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            stream.write_all(b"220 stub\r\n").await.unwrap();
            let (mut line, mut data) = (String::new(), false);
            // The client may hang up when it was refused.
            while stream.read_line(&mut line).await.is_ok_and(|length| length > 0) {
                let text = std::mem::take(&mut line).trim_end().to_owned();
                log.lock().unwrap().push(text.clone());
                let answer = match (data, text.split([' ', ':']).next().unwrap()) {
                    (true, ".") => {
                        data = false;
                        "250 taken"
                    }
                    (true, _) => continue,
                    (_, "DATA") => {
                        data = true;
                        "354 go on"
                    }
                    (_, "EHLO") => "250-stub\r\n250 8BITMIME",
                    (_, "RCPT") => recipient,
                    (_, "QUIT") => "221 bye",
                    _ => "250 fine",
                };
                if stream.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
                    break;
                }
            }
        }
    });
    (url, lines)
}

fn config(url: &str) -> EmailConfig {
    EmailConfig { url: url.to_owned(), from: "Weir <weir@example.com>".to_owned(), user: None, password: None }
}

fn mail(to: &str) -> Attempt {
    let action = Action::Email { to: vec![to.to_owned()], subject: "{{ rule }} at {{ site }}".to_owned() };
    attempt(plan(action, Some("{{ message }}\n.\nend")))
}

async fn send(url: &str, to: &str) -> Outcome {
    Email::new(&config(url), clock()).unwrap().attempt(&mail(to)).await
}

#[tokio::test]
async fn a_message_is_sent_with_an_id_made_of_its_key() {
    let (url, lines) = server("250 fine").await;
    assert_eq!(send(&url, "Ops <ops@example.com>").await, Outcome::Done("250 accepted".to_owned()));
    let lines = lines.lock().unwrap().clone();
    for expected in [
        "MAIL FROM:<weir@example.com>",
        "RCPT TO:<ops@example.com>",
        "From: Weir <weir@example.com>",
        "Subject: overheating at hall-1",
        "Message-ID: <00112233445566778899aabbccddeeff-0@weir>",
        "Date: Thu, 01 Jan 2026 00:00:03 +0000",
        "Content-Type: text/plain; charset=utf-8",
        "oven-1 is at 81.5 Cel",
        "..",
        "end",
    ] {
        assert!(lines.iter().any(|line| line.starts_with(expected)), "{expected}: {lines:#?}");
    }
}

#[tokio::test]
async fn answers_for_good_and_for_now_are_told_apart() {
    let outcome = send(&server("550 no such user").await.0, "ops@example.com").await;
    assert_eq!(outcome, Outcome::Refused("permanent error (550): no such user".to_owned()));
    let outcome = send(&server("451 later").await.0, "ops@example.com").await;
    assert_eq!(outcome, Outcome::Failed("transient error (451): later".to_owned()));
    let outcome = send(&server("530 log in first").await.0, "ops@example.com").await;
    assert!(matches!(outcome, Outcome::Failed(_)), "the configuration can mend it: {outcome:?}");
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let away = format!("smtp://{}", free.local_addr().unwrap());
    drop(free);
    let outcome = send(&away, "ops@example.com").await;
    assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
    let outcome = send("smtp://127.0.0.1:1", "not an address").await;
    assert!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
}

#[tokio::test]
async fn a_password_never_goes_over_a_connection_in_clear() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hunter2").unwrap();
    let (url, lines) = server("250 fine").await;
    let password = Some(Secret::File(file.path().to_str().unwrap().to_owned()));
    let config = EmailConfig { user: Some("weir".to_owned()), password, ..config(&url) };
    let email = Email::new(&config, clock()).unwrap();
    let outcome = email.attempt(&mail("ops@example.com")).await;
    assert!(matches!(outcome, Outcome::Failed(_)), "the server offers no TLS: {outcome:?}");
    let lines = lines.lock().unwrap().clone();
    assert!(lines.iter().all(|line| line.starts_with("EHLO") || line.starts_with("QUIT")), "{lines:?}");
    assert!(!format!("{email:?} {outcome:?}").contains("hunter2"));
}

#[test]
fn a_wrong_setting_is_named() {
    let wrong = |config: EmailConfig| Email::new(&config, clock()).unwrap_err();
    assert!(wrong(config("http://x")).contains("email.url `http://x`: expected `smtp://host:port`"));
    assert!(!wrong(config("smtp://u:hunter2@x")).contains("hunter2"));
    assert!(wrong(EmailConfig { from: "weir".to_owned(), ..config("smtp://x") }).contains("email.from `weir`"));
    let half = EmailConfig { user: Some("u".to_owned()), ..config("smtp://x") };
    assert!(wrong(half).contains("both of `user` and `password`"));
    assert_eq!(super::server("smtps://[::1]").unwrap(), ("::1".to_owned(), 465, true));
    assert_eq!(super::server("smtp://mail.example:25").unwrap(), ("mail.example".to_owned(), 25, false));
}
