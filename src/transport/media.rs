//! The media types of OTLP, read from `Content-Type`.

/// What a body claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Media {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`.
    Json,
    /// `application/grpc` and `application/grpc+proto`.
    Grpc,
    /// gRPC that carries something else, such as `application/grpc+json`.
    GrpcOther,
    /// Anything else, and no header at all.
    Other,
}

impl Media {
    /// Reads a `Content-Type`: case, spaces and parameters do not matter.
    pub fn parse(value: &str) -> Media {
        let name = value.split(';').next().unwrap_or_default().trim();
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        let grpc = |bytes: &[u8]| bytes.eq_ignore_ascii_case(b"application/grpc");
        if is("application/x-protobuf") || is("application/protobuf") {
            Media::Protobuf
        } else if is("application/json") {
            Media::Json
        } else if is("application/grpc") || is("application/grpc+proto") {
            Media::Grpc
        } else if name.as_bytes().get(..16).is_some_and(grpc) {
            Media::GrpcOther
        } else {
            Media::Other
        }
    }

    /// The `Content-Type` of an answer to a body of this kind. What is not understood is answered
    /// in protobuf.
    pub fn name(self) -> &'static str {
        match self {
            Media::Json => "application/json",
            Media::Grpc | Media::GrpcOther => "application/grpc",
            Media::Protobuf | Media::Other => "application/x-protobuf",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Media;

    #[test]
    fn media_types_are_read_whatever_their_case_spaces_and_parameters() {
        let cases = [
            ("application/x-protobuf", Media::Protobuf),
            ("application/json", Media::Json),
            ("application/json; charset=utf-8", Media::Json),
            ("  Application/JSON ;charset=\"utf-8\"", Media::Json),
            ("application/grpc", Media::Grpc),
            ("application/grpc+proto", Media::Grpc),
            ("application/grpc+json", Media::GrpcOther),
            ("application/grpc-web", Media::GrpcOther),
            ("multipart/form-data; boundary=x", Media::Other),
            ("text/plain", Media::Other),
            ("application/jsonp", Media::Other),
            ("application/grp\u{e9}", Media::Other),
            ("", Media::Other),
        ];
        for (value, expected) in cases {
            assert_eq!(Media::parse(value), expected, "{value}");
        }
    }
}
