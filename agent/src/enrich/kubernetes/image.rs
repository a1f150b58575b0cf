// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A container image's reference, taken apart: `registry:5000/shop/web:1.2@sha256:…`.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image<'a> {
    /// With its registry, as it was written.
    pub name: &'a str,
    pub tag: Option<&'a str>,
    pub digest: Option<&'a str>,
}

impl<'a> Image<'a> {
    #[must_use]
    pub fn parse(reference: &'a str) -> Self {
        let (named, digest) = match reference.split_once('@') {
            Some((named, digest)) => (named, Some(digest)),
            None => (reference, None),
        };
        // A colon before the last slash belongs to the registry's port.
        match named.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
            Some((name, tag)) => Self { name, tag: Some(tag), digest },
            None => Self { name: named, tag: None, digest },
        }
    }

    /// `service.version` by OpenTelemetry's rules for Kubernetes: tag and digest, or the one that is there.
    #[must_use]
    pub fn version(self) -> Option<String> {
        match (self.tag, self.digest) {
            (Some(tag), Some(digest)) => Some(format!("{tag}@{digest}")),
            (tag, digest) => tag.or(digest).map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reference: &str, name: &str, tag: Option<&str>, version: Option<&str>) {
        let image = Image::parse(reference);
        assert_eq!((image.name, image.tag), (name, tag), "{reference}");
        assert_eq!(image.version().as_deref(), version, "{reference}");
    }

    #[test]
    fn references() {
        check("web", "web", None, None);
        check("shop/web:1.2", "shop/web", Some("1.2"), Some("1.2"));
        check("registry:5000/web", "registry:5000/web", None, None);
        check("registry:5000/web:1", "registry:5000/web", Some("1"), Some("1"));
        check("web@sha256:ab", "web", None, Some("sha256:ab"));
        check("web:1@sha256:ab", "web", Some("1"), Some("1@sha256:ab"));
        check("", "", None, None);
    }
}
