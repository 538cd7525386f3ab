//! Detectors on generated sets: what they must find, and what only looks like it.

use super::*;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fastrand::Rng;

fn all() -> Detectors {
    Detectors::new(|_| true)
}

fn default() -> Detectors {
    let optional = ["phone", "ssn", "ip", "high_entropy"];
    Detectors::new(|detector| !optional.contains(&detector.name))
}

/// Asserts what stands in the place of what is found.
#[track_caller]
fn check(detectors: &Detectors, text: &str, expected: &str) {
    let mut hits = vec![];
    detectors.find(text.as_bytes(), &mut hits);
    let (mut masked, mut done) = (String::new(), 0);
    for hit in &hits {
        masked += &text[done..hit.from];
        masked += ALL[place(hit.class)].mask;
        done = hit.to;
    }
    masked += &text[done..];
    assert_eq!(masked, expected, "{hits:?}");
    let may = detectors.may_hit(text.as_bytes());
    assert!(may || hits.is_empty(), "the first pass misses {text}");
}

#[test]
fn secrets_are_found_whole_and_neighbours_stay() {
    let pem = "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----";
    for (text, expected) in [
        ("mail bob.o'x+tag@mail.example.com.", "mail bob.o'[email]."),
        ("<a@b.co>,c@d.org", "<[email]>,[email]"),
        ("user.id=alice%40example.com,tenant=acme", "user.id=[email],tenant=acme"),
        ("http://host:8080?scope=%40a%2Fb&x=a%40b", ""),
        ("git@github.com:o/r.git and npm@1.2.3 @dataclass x@host a@b.shape", ""),
        ("card 4111 1111 1111 1111, 378282246310005", "card [payment_card], [payment_card]"),
        ("4111-1111-1111-1112 4111111111111111a 0.4111111111111111", ""),
        ("IBAN DE89 3704 0044 0532 0130 00 of GB82WEST12345698765432", "IBAN [iban] of [iban]"),
        ("DE89370400440532013001", ""),
        ("AKIAIOSFODNN7EXAMPLX AKIAIOSFODNN7EXAMPLE", "[cloud_key] AKIAIOSFODNN7EXAMPLE"),
        ("key=sk-proj-abc123DEF456ghi789JKL", "key=[llm_key]"),
        ("task-sk-learn-is-a-long-name-of-things sk-a-b-c-d-e-f-g-h-i-j-k", ""),
        ("ghp_0123456789abcdefghijABCDEFGHIJ012345", "[access_token]"),
        ("xoxb-123456789012-abcdef", "[access_token]"),
        ("postgres://user:pa55@db:5432/x", "postgres://[url_password]@db:5432/x"),
        ("https://example.com/@scope/a:b", ""),
        ("Authorization: Bearer abcdef0123456789abcdef", "Authorization: Bearer [authorization]"),
        ("Basic dXNlcjpwYXNzd29yZA==", "Basic [authorization]"),
        ("a bearer of uncomfortable news, basic understanding", ""),
        (&format!("x {pem} y"), "x [private_key] y"),
        ("-----BEGIN PRIVATE KEY-----\nMIIcutoff", "[private_key]"),
        ("-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----", ""),
    ] {
        check(&default(), text, if expected.is_empty() { text } else { expected });
    }
}

#[test]
fn what_is_off_is_found_if_asked_for() {
    for (text, expected) in [
        ("call +49 170 1234567 or (415) 555-2671", "call [phone] or [phone]"),
        ("ssn 123-45-6789 and 000-12-3456", "ssn [ssn] and 000-12-3456"),
        (
            "from 10.1.2.3:80 and 2001:db8::1, ::1 127.0.0.1 v1.2.3.4",
            "from [ip]:80 and [ip], ::1 127.0.0.1 v1.2.3.4",
        ),
        ("k=9aF3kQ7zLw2XbN8vRt5YcPd1", "k=[high_entropy]"),
    ] {
        check(&default(), text, text);
        check(&all(), text, expected);
    }
}

/// Letters, by which a generator draws.
const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const ALNUM: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const BASE32: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn draw(rng: &mut Rng, of: &str, n: usize) -> String {
    (0..n).map(|_| char::from(of.as_bytes()[rng.usize(0..of.len())])).collect()
}

fn pick<'a>(rng: &mut Rng, of: &[&'a str]) -> &'a str {
    of[rng.usize(0..of.len())]
}

/// A number that passes Luhn's test.
fn card(rng: &mut Rng) -> String {
    let (head, length) = [
        ("4", 16),
        ("51", 16),
        ("2221", 16),
        ("34", 15),
        ("37", 15),
        ("6011", 16),
        ("65", 16),
        ("3528", 16),
        ("36", 14),
        ("62", 16),
        ("4", 19),
    ][rng.usize(0..11)];
    let mut digits: String = head.into();
    digits += &draw(rng, "0123456789", length - 1 - head.len());
    let last = (0..10).map(|d| format!("{digits}{d}")).find(|number| {
        let sum: u32 = number
            .bytes()
            .rev()
            .enumerate()
            .map(|(k, b)| {
                let doubled = u32::from(b - b'0') * (1 + k as u32 % 2);
                doubled / 10 + doubled % 10
            })
            .sum();
        sum.is_multiple_of(10)
    });
    let number = last.unwrap();
    let groups: &[usize] = match length {
        16 => &[4, 4, 4, 4],
        15 => &[4, 6, 5],
        14 => &[4, 6, 4],
        _ => return number,
    };
    let Some(separator) = [None, Some(" "), Some("-")][rng.usize(0..3)] else { return number };
    let mut at = 0;
    let parts: Vec<_> = groups
        .iter()
        .map(|n| {
            at += n;
            &number[at - n..at]
        })
        .collect();
    parts.join(separator)
}

fn iban(rng: &mut Rng) -> String {
    let (country, length) = [
        ("DE", 22),
        ("GB", 22),
        ("FR", 27),
        ("NO", 15),
        ("MT", 31),
        ("NL", 18),
        ("ES", 24),
        ("IT", 27),
        ("CH", 21),
        ("PL", 28),
    ][rng.usize(0..10)];
    let letters = if ["GB", "NL", "MT"].contains(&country) { 4 } else { 0 };
    let mut body = draw(rng, "ABCDEFGHIJKLMNOPQRSTUVWXYZ", letters);
    body += &draw(rng, "0123456789", length - 4 - letters);
    let rest = format!("{body}{country}00").bytes().fold(0u64, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u64::from(byte - b'0')) % 97,
        _ => (rest * 100 + u64::from(byte - b'A') + 10) % 97,
    });
    let whole = format!("{country}{:02}{body}", 98 - rest);
    if rng.bool() {
        return whole;
    }
    let bytes: Vec<_> = whole.as_bytes().chunks(4).map(|c| String::from_utf8_lossy(c)).collect();
    bytes.join(" ")
}

/// One that must be found, and the class by which.
fn positive(rng: &mut Rng, class: Class) -> String {
    match class {
        Class::Email => {
            let top = pick(rng, &["com", "org", "de", "io", "co.uk", "dev", "email", "com.au"]);
            let (n, m) = (1 + rng.usize(0..12), 1 + rng.usize(0..12));
            format!(
                "{}{}@{}.{top}",
                draw(rng, LOWER, n),
                pick(rng, &["", ".x", "+tag", "_1"]),
                draw(rng, LOWER, m)
            )
        }
        Class::PaymentCard => card(rng),
        Class::Iban => iban(rng),
        Class::Jwt => {
            let header = r#"{"alg":"HS256","typ":"JWT"}"#;
            let payload = format!("{{\"sub\":\"{}\"}}", draw(rng, ALNUM, 12));
            let (header, payload) =
                (URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
            format!("{header}.{payload}.{}", draw(rng, ALNUM, 43))
        }
        Class::PrivateKey => {
            let kind = pick(rng, &["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "]);
            let body = draw(rng, ALNUM, 200);
            format!("-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----")
        }
        Class::CloudKey => match rng.usize(0..3) {
            0 => format!("{}{}", pick(rng, &["AKIA", "ASIA"]), draw(rng, BASE32, 16)),
            1 => format!("AIza{}", draw(rng, ALNUM, 35)),
            _ => format!("AccountKey={}==", draw(rng, ALNUM, 86)),
        },
        Class::LlmKey => match rng.usize(0..4) {
            0 => format!("sk-ant-api03-{}AA", draw(rng, ALNUM, 93)),
            1 => format!("sk-proj-{}T3BlbkFJ{}", draw(rng, ALNUM, 74), draw(rng, ALNUM, 74)),
            2 => format!("sk-{}T3BlbkFJ{}", draw(rng, ALNUM, 20), draw(rng, ALNUM, 20)),
            _ => format!("hf_{}1", draw(rng, ALNUM, 33)),
        },
        Class::AccessToken => match rng.usize(0..4) {
            0 => format!("{}{}1", pick(rng, &["ghp_", "gho_", "ghs_"]), draw(rng, ALNUM, 35)),
            1 => format!("github_pat_{}_{}1", draw(rng, ALNUM, 22), draw(rng, ALNUM, 58)),
            2 => format!("xoxb-{}-{}", draw(rng, "0123456789", 12), draw(rng, ALNUM, 24)),
            _ => format!("glpat-{}1", draw(rng, ALNUM, 19)),
        },
        Class::UrlPassword => {
            let scheme = pick(rng, &["https", "postgres", "redis", "amqp"]);
            format!("{scheme}://{}:{}@db:1/x", draw(rng, LOWER, 5), draw(rng, ALNUM, 12))
        }
        _ => match rng.bool() {
            true => format!("Bearer {}1", draw(rng, ALNUM, 39)),
            false => {
                let pair = format!("{}:{}", draw(rng, LOWER, 6), draw(rng, ALNUM, 10));
                format!("Basic {}", STANDARD.encode(pair))
            }
        },
    }
}

const PROSE: [&str; 6] = [
    "The planner asked the weather service twice and then gave up after 30 seconds.",
    "Der Agent hat die Anfrage an das Werkzeug weitergegeben und auf Antwort gewartet.",
    "L'agent a résumé le document, puis il a posé une question à l'utilisateur.",
    "エージェントは検索ツールを呼び出し、結果を要約しました。",
    "El modelo respondió en español con tres opciones; la segunda costaba 1.250,00 EUR.",
    "Агент получил 12 результатов и выбрал лучший из них.",
];

const CODE: [&str; 6] = [
    "let total = items.iter().map(|i| i.price * 100).sum::<u64>(); // 4242",
    "@app.route('/users/<int:id>')\ndef get(id): return db[id] @ weights.T",
    "for (int i = 0; i < 1000000; i++) { a[i] = b[i] ^ 0xDEADBEEF; }",
    "npm install @types/node@20.11.5 react@18.2.0 --save-dev",
    "SELECT id, sum(tokens) FROM spans WHERE ts > '2026-05-28T20:26:40Z' GROUP BY 1",
    "docker pull ghcr.io/acme/agent@sha256:",
];

fn negative(rng: &mut Rng) -> String {
    let hex = "0123456789abcdef";
    match rng.usize(0..9) {
        0 => {
            let n = [16, 32, 40, 64][rng.usize(0..4)];
            draw(rng, hex, n)
        }
        1 => [8, 4, 4, 4, 12].map(|n| draw(rng, hex, n)).join("-"),
        2 => {
            let n = 12 + rng.usize(0..60);
            STANDARD.encode(draw(rng, ALNUM, n))
        }
        3 => format!("{}", 1_700_000_000_000_000_000 + rng.u64(0..200_000_000_000_000_000)),
        4 => format!("{}", 1_700_000_000_000 + rng.u64(0..200_000_000_000)),
        5 => format!(
            "v{}.{}.{}-rc.{}+{}",
            rng.u8(..),
            rng.u8(..),
            rng.u8(..),
            rng.u8(..),
            draw(rng, hex, 7)
        ),
        6 => {
            let digest = draw(rng, hex, 64);
            format!("{}{digest}", pick(rng, &CODE))
        }
        7 => pick(rng, &PROSE).to_owned(),
        _ => format!(
            "chatcmpl-{} 2026-{:02}-{:02}T{:02}:{:02}:00.{:09}Z",
            draw(rng, ALNUM, 29),
            rng.u8(1..13),
            rng.u8(1..29),
            rng.u8(0..24),
            rng.u8(0..60),
            rng.u32(0..1_000_000_000)
        ),
    }
}

/// How many of each class, and how many that only look like one.
const SIZES: (usize, usize) = (5_000, 1_000_000);

#[test]
fn recall_and_false_positives_hold_on_generated_sets() {
    let (positives, negatives) = SIZES;
    let detectors = default();
    let mut rng = Rng::with_seed(7);
    let mut hits = vec![];
    for detector in ALL.iter().take(10) {
        let mut found = 0;
        for _ in 0..positives {
            let secret = positive(&mut rng, detector.class);
            let text = match rng.usize(0..4) {
                0 => secret.clone(),
                1 => format!("key={secret}"),
                2 => format!("He wrote \"{secret}\", and left."),
                _ => format!("{} {secret}\n{}", pick(&mut rng, &PROSE), pick(&mut rng, &PROSE)),
            };
            hits.clear();
            detectors.find(text.as_bytes(), &mut hits);
            let is_found = hits.iter().any(|hit| hit.class == detector.class);
            found += usize::from(is_found && detectors.may_hit(text.as_bytes()));
        }
        println!("{}: {found} of {positives} found", detector.name);
        assert!(found * 100 >= positives * 99, "{}: {found} of {positives}", detector.name);
    }
    let mut wrong = [0usize; ALL.len()];
    for _ in 0..negatives {
        let text = negative(&mut rng);
        hits.clear();
        detectors.find(text.as_bytes(), &mut hits);
        for hit in &hits {
            println!("{:?}: {}", hit.class, &text[hit.from..hit.to]);
            wrong[place(hit.class)] += 1;
        }
    }
    let most = negatives / 100_000;
    for detector in &ALL {
        println!("{}: {} wrong of {negatives}", detector.name, wrong[place(detector.class)]);
        assert!(wrong[place(detector.class)] <= most, "{}", detector.name);
    }
}

#[test]
fn any_bytes_are_looked_into_without_harm() {
    let detectors = all();
    let parts = [
        "@",
        "://",
        ":",
        "eyJ",
        ".",
        "-----BEGIN ",
        "PRIVATE KEY-----",
        "sk-",
        "4111",
        "1111",
        " ",
        "-",
        "DE89",
        "Bearer ",
        "a",
        "é",
        "\0",
        "1",
        "\\",
        "::",
        "+49",
    ];
    let mut rng = Rng::with_seed(11);
    for _ in 0..20_000 {
        let n = rng.usize(0..24);
        let text: String = (0..n).map(|_| pick(&mut rng, &parts)).collect();
        let mut hits = vec![];
        detectors.find(text.as_bytes(), &mut hits);
        let mut past = 0;
        for hit in hits {
            assert!(hit.from >= past && hit.to > hit.from && hit.to <= text.len(), "{text}");
            assert!(text.is_char_boundary(hit.from) && text.is_char_boundary(hit.to), "{text}");
            past = hit.to;
        }
    }
}
