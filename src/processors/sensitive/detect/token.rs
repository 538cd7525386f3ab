//! Secrets that say what they are by how they begin: keys, tokens, headers.

use super::{Class, before, is_word, run};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Bytes of the longest secret that is looked at; what is longer is covered up to here, except
/// private keys.
const LONGEST: usize = 16 << 10;

/// What finds the whole of a secret, from where its beginning starts and ends.
type Finder = fn(&[u8], usize, usize) -> Option<(usize, usize)>;

/// How a secret begins, and how to tell it from what only looks so.
pub struct Sign {
    pub start: &'static str,
    pub class: Class,
    /// Whether it can stand where its beginning ends at an offset, whatever is around it.
    pub may_stand: fn(&[u8], usize) -> bool,
    pub find: Finder,
}

const fn sign(
    start: &'static str,
    class: Class,
    may_stand: fn(&[u8], usize) -> bool,
    find: Finder,
) -> Sign {
    Sign { start, class, may_stand, find }
}

/// All signs; of two at one place the first counts. Longer ones stand before their beginnings.
pub const SIGNS: &[Sign] = &[
    sign("eyJ", Class::Jwt, |t, at| key(t, at, 8), jwt),
    sign("-----BEGIN ", Class::PrivateKey, |_, _| true, private_key),
    sign("AKIA", Class::CloudKey, |t, at| aws_run(t, at) >= 16, aws),
    sign("ASIA", Class::CloudKey, |t, at| aws_run(t, at) >= 16, aws),
    sign("ABIA", Class::CloudKey, |t, at| aws_run(t, at) >= 16, aws),
    sign("ACCA", Class::CloudKey, |t, at| aws_run(t, at) >= 16, aws),
    sign("ABSK", Class::CloudKey, |t, at| key(t, at, 40), |t, from, at| base64(t, from, at, 40)),
    sign("AIza", Class::CloudKey, |t, at| key(t, at, 35), |t, from, at| exact(t, from, at, 35)),
    sign("AccountKey=", Class::CloudKey, |t, at| key(t, at, 20), value_of),
    sign("GOCSPX-", Class::CloudKey, |t, at| key(t, at, 28), |t, from, at| least(t, from, at, 28)),
    sign("ya29.", Class::CloudKey, |t, at| key(t, at, 20), |t, from, at| least(t, from, at, 20)),
    sign("sk-ant-", Class::LlmKey, |t, at| key(t, at, 20), |t, from, at| least(t, from, at, 20)),
    sign("sk-", Class::LlmKey, |t, at| key(t, at, 20), openai),
    sign("gsk_", Class::LlmKey, |t, at| key(t, at, 40), |t, from, at| least(t, from, at, 40)),
    sign("xai-", Class::LlmKey, |t, at| key(t, at, 40), |t, from, at| least(t, from, at, 40)),
    sign("pplx-", Class::LlmKey, |t, at| key(t, at, 40), |t, from, at| least(t, from, at, 40)),
    sign("hf_", Class::LlmKey, |t, at| key(t, at, 30), |t, from, at| least(t, from, at, 30)),
    sign("r8_", Class::LlmKey, |t, at| key(t, at, 36), |t, from, at| least(t, from, at, 36)),
    sign("ghp_", Class::AccessToken, |t, at| key(t, at, 36), |t, f, at| least(t, f, at, 36)),
    sign("gho_", Class::AccessToken, |t, at| key(t, at, 36), |t, f, at| least(t, f, at, 36)),
    sign("ghu_", Class::AccessToken, |t, at| key(t, at, 36), |t, f, at| least(t, f, at, 36)),
    sign("ghs_", Class::AccessToken, |t, at| key(t, at, 36), |t, f, at| least(t, f, at, 36)),
    sign("ghr_", Class::AccessToken, |t, at| key(t, at, 36), |t, f, at| least(t, f, at, 36)),
    sign("github_pat_", Class::AccessToken, |t, at| key(t, at, 60), |t, f, at| least(t, f, at, 60)),
    sign("xoxa-", Class::AccessToken, |t, at| key(t, at, 10), |t, f, at| least(t, f, at, 10)),
    sign("xoxb-", Class::AccessToken, |t, at| key(t, at, 10), |t, f, at| least(t, f, at, 10)),
    sign("xoxp-", Class::AccessToken, |t, at| key(t, at, 10), |t, f, at| least(t, f, at, 10)),
    sign("xoxr-", Class::AccessToken, |t, at| key(t, at, 10), |t, f, at| least(t, f, at, 10)),
    sign("xoxs-", Class::AccessToken, |t, at| key(t, at, 10), |t, f, at| least(t, f, at, 10)),
    sign("xapp-", Class::AccessToken, |t, at| key(t, at, 20), |t, f, at| least(t, f, at, 20)),
    sign("glpat-", Class::AccessToken, |t, at| key(t, at, 20), |t, f, at| least(t, f, at, 20)),
    sign("npm_", Class::AccessToken, |t, at| key(t, at, 36), |t, f, at| least(t, f, at, 36)),
    sign("sk_live_", Class::AccessToken, |t, at| key(t, at, 16), |t, f, at| least(t, f, at, 16)),
    sign("sk_test_", Class::AccessToken, |t, at| key(t, at, 16), |t, f, at| least(t, f, at, 16)),
    sign("rk_live_", Class::AccessToken, |t, at| key(t, at, 16), |t, f, at| least(t, f, at, 16)),
    sign("rk_test_", Class::AccessToken, |t, at| key(t, at, 16), |t, f, at| least(t, f, at, 16)),
    sign("earer ", Class::Authorization, |t, at| key(t, at, 16), bearer),
    sign("asic ", Class::Authorization, |t, at| key(t, at, 8), basic),
];

fn is_key(byte: u8) -> bool {
    is_word(byte) || byte == b'-'
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/'
}

/// What may stand in a bearer token.
fn is_bearer(byte: u8) -> bool {
    is_key(byte) || b".~+/=".contains(&byte)
}

/// Whether a run long enough follows.
fn key(text: &[u8], at: usize, least: usize) -> bool {
    run(text, at, least, is_bearer) >= least
}

/// Whether no run of key bytes goes on into what begins at `from`: so each run is walked once.
fn is_free(text: &[u8], from: usize) -> bool {
    before(text, from).is_none_or(|byte| !is_key(byte))
}

/// At least so many bytes of a key, with a digit among them, which words have not.
fn least(text: &[u8], from: usize, at: usize, least: usize) -> Option<(usize, usize)> {
    let length = run(text, at, LONGEST, is_key);
    let body = text.get(at..at + length)?;
    let has_digit = body.iter().any(u8::is_ascii_digit);
    (length >= least && has_digit && is_free(text, from)).then_some((from, at + length))
}

/// Just so many bytes.
fn exact(text: &[u8], from: usize, at: usize, length: usize) -> Option<(usize, usize)> {
    let found = run(text, at, length + 1, is_key);
    (found == length && is_free(text, from)).then_some((from, at + length))
}

fn base64(text: &[u8], from: usize, at: usize, least: usize) -> Option<(usize, usize)> {
    let length = run(text, at, LONGEST, |byte| is_base64(byte) || byte == b'=');
    (length >= least && is_free(text, from)).then_some((from, at + length))
}

fn aws_run(text: &[u8], at: usize) -> usize {
    run(text, at, 17, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// The id of an AWS access key; those of its documentation end with EXAMPLE.
fn aws(text: &[u8], from: usize, at: usize) -> Option<(usize, usize)> {
    let body = text.get(at..at + 16)?;
    let is_shown = body.ends_with(b"EXAMPLE");
    let ends = text.get(at + 16).is_none_or(|byte| !is_word(*byte));
    let fits = aws_run(text, at) == 16 && ends && !is_shown && is_free(text, from);
    fits.then_some((from, at + 16))
}

/// The value behind a name and `=`.
fn value_of(text: &[u8], _from: usize, at: usize) -> Option<(usize, usize)> {
    let length = run(text, at, LONGEST, |byte| is_base64(byte) || byte == b'=');
    (length >= 20).then_some((at, at + length))
}

/// A key of OpenAI's form, which many others use: a long run without a hyphen, with digits in it;
/// names with hyphens have neither.
fn openai(text: &[u8], from: usize, at: usize) -> Option<(usize, usize)> {
    let length = run(text, at, LONGEST, is_key);
    let body = text.get(at..at + length)?;
    let is_secret = |part: &[u8]| {
        let digits = part.iter().filter(|byte| byte.is_ascii_digit()).count();
        let letters = part.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
        part.len() >= 16 && digits >= 2 && letters >= 4
    };
    let marked = body.windows(8).any(|part| part == b"T3BlbkFJ");
    let secret = marked || body.split(|byte| *byte == b'-').any(is_secret);
    let free = is_free(text, from) && before(text, from) != Some(b'-');
    (length >= 20 && secret && free).then_some((from, at + length))
}

/// A JSON Web Token: two parts that begin as JSON does in base64, and a signature, perhaps empty.
fn jwt(text: &[u8], from: usize, at: usize) -> Option<(usize, usize)> {
    if before(text, from).is_some_and(is_key) {
        return None;
    }
    let header = text.get(from..at + run(text, at, LONGEST, is_key))?;
    let payload = from + header.len() + 1;
    let payload_length = run(text, payload, LONGEST, is_key);
    let starts = text.get(payload..)?.starts_with(b"ey");
    if text.get(payload - 1) != Some(&b'.') || !starts || payload_length < 8 {
        return None;
    }
    let decoded = URL_SAFE_NO_PAD.decode(header).ok()?;
    let is_json = decoded.starts_with(b"{") && decoded.ends_with(b"}");
    let mut to = payload + payload_length;
    if text.get(to) == Some(&b'.') {
        to += 1 + run(text, to + 1, LONGEST, is_key);
    }
    is_json.then_some((from, to))
}

/// A private key in PEM form, to the end of the text if its own end is cut off.
fn private_key(text: &[u8], from: usize, at: usize) -> Option<(usize, usize)> {
    let label = text.get(at..)?;
    let label = label.get(..label.len().min(48))?;
    let dashes = memchr::memmem::find(label, b"-----")?;
    label.get(..dashes)?.ends_with(b"PRIVATE KEY").then_some(())?;
    let body = at + dashes + 5;
    let end = memchr::memmem::find(text.get(body..)?, b"-----END ").map(|end| body + end + 9);
    let Some(end) = end else { return Some((from, text.len())) };
    let tail = memchr::memmem::find(text.get(end..)?, b"-----");
    Some((from, tail.map_or(text.len(), |tail| end + tail + 5)))
}

/// The token of a bearer header. A sentence about bearers has no word like it.
fn bearer(text: &[u8], from: usize, at: usize) -> Option<(usize, usize)> {
    let first = before(text, from).filter(|byte| matches!(byte, b'B' | b'b'));
    let length = run(text, at, LONGEST, is_bearer);
    let body = text.get(at..at + length)?;
    let is_token = length >= 16 && body.iter().any(u8::is_ascii_digit);
    (first.is_some() && is_free(text, from - 1) && is_token).then_some((at, at + length))
}

/// The user and password of a basic header: base64 of text with a colon.
fn basic(text: &[u8], from: usize, at: usize) -> Option<(usize, usize)> {
    let first = before(text, from).filter(|byte| matches!(byte, b'B' | b'b'));
    let length = run(text, at, LONGEST, is_base64);
    let decoded = STANDARD_NO_PAD.decode(text.get(at..at + length)?).ok()?;
    let is_pair = decoded.contains(&b':') && !decoded.iter().any(|byte| *byte < b' ');
    let padding = run(text, at + length, 2, |byte| byte == b'=');
    (first.is_some() && is_free(text, from - 1) && length >= 6 && is_pair)
        .then_some((at, at + length + padding))
}
