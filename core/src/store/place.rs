//! Where a page lies below `pages/<deployment>/`, and which names can stand there.
//!
//! `<3 hex>/<29 hex>` by the keyed hash of the path or data key; a variant of the path in `<3 hex>/<29 hex>.v/<32 hex>` by its
//! own. The key is secret, so that nobody who chooses paths can choose names; the file itself says for what it is.

use xxhash_rust::xxh3::xxh3_128_with_seed;

const BUCKET_LEN: usize = 3;
const HASH_LEN: usize = 32;
const VARIANTS: [u8; 2] = *b".v";

/// The names of a page's file and of the directories around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FilePlace {
    /// The path's hash, and what makes a file's name the one of the directory of its variants.
    path: [u8; HASH_LEN + VARIANTS.len()],
    variant: Option<[u8; HASH_LEN]>,
}

impl FilePlace {
    /// The place of a path (or data key) and the rest of its key, which is empty for the path itself.
    pub(crate) fn new(seed: u64, path: &[u8], variant: &[u8]) -> FilePlace {
        let mut names = [0; HASH_LEN + VARIANTS.len()];
        names[..HASH_LEN].copy_from_slice(&hex(xxh3_128_with_seed(path, seed)));
        names[HASH_LEN..].copy_from_slice(&VARIANTS);
        let variant = (!variant.is_empty()).then(|| hex(xxh3_128_with_seed(variant, seed)));
        FilePlace { path: names, variant }
    }

    /// The directory that it shares with 1 of 4096 others.
    pub(crate) fn bucket(&self) -> &[u8] {
        &self.path[..BUCKET_LEN]
    }

    /// The directory of the path's variants, in the bucket.
    pub(crate) fn folder(&self) -> &[u8] {
        &self.path[BUCKET_LEN..]
    }

    /// The file: in the folder for a variant, else in the bucket.
    pub(crate) fn file(&self) -> &[u8] {
        match &self.variant {
            Some(name) => name,
            None => &self.path[BUCKET_LEN..HASH_LEN],
        }
    }

    pub(crate) fn is_variant(&self) -> bool {
        self.variant.is_some()
    }

    /// The variant of the same path whose file has this name; none if no variant's can.
    pub(crate) fn sibling(&self, name: &[u8]) -> Option<FilePlace> {
        let name = is_variant_name(name).then(|| name.try_into().ok())??;
        Some(FilePlace { variant: Some(name), ..self.clone() })
    }
}

impl std::fmt::Display for FilePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |name| str::from_utf8(name).unwrap_or_default();
        write!(f, "{}/", text(self.bucket()))?;
        if self.is_variant() {
            write!(f, "{}/", text(self.folder()))?;
        }
        f.write_str(text(self.file()))
    }
}

fn hex(hash: u128) -> [u8; HASH_LEN] {
    let mut digits = hash.to_be_bytes().into_iter().flat_map(|b| [b >> 4, b & 15]);
    [(); HASH_LEN].map(|()| b"0123456789abcdef"[usize::from(digits.next().unwrap_or(0))])
}

/// A deployment's directory: 16 lower-case hex digits.
pub(crate) fn is_deployment_name(name: &[u8]) -> bool {
    is_hex(name, 16)
}

/// The file of a path or data entry.
pub(crate) fn is_file_name(name: &[u8]) -> bool {
    is_hex(name, HASH_LEN - BUCKET_LEN)
}

/// The directory of a path's variants.
pub(crate) fn is_folder_name(name: &[u8]) -> bool {
    name.strip_suffix(&VARIANTS).is_some_and(is_file_name)
}

pub(crate) fn is_variant_name(name: &[u8]) -> bool {
    is_hex(name, HASH_LEN)
}

fn is_hex(name: &[u8], len: usize) -> bool {
    name.len() == len && name.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_place_is_the_keyed_hash_in_hex() {
        let plain = FilePlace::new(7, b"/a", b"");
        let hash = format!("{:032x}", xxh3_128_with_seed(b"/a", 7));
        assert_eq!(plain.to_string(), format!("{}/{}", &hash[..3], &hash[3..]));
        let variant = FilePlace::new(7, b"/a", b"lang=de");
        let own = format!("{:032x}", xxh3_128_with_seed(b"lang=de", 7));
        assert_eq!(variant.to_string(), format!("{}/{}.v/{own}", &hash[..3], &hash[3..]));
        assert_ne!(FilePlace::new(8, b"/a", b""), plain);
    }

    #[test]
    fn a_sibling_is_a_variant_of_the_same_path() {
        let variant = FilePlace::new(7, b"/a", b"lang=de");
        let plain = FilePlace::new(7, b"/a", b"");
        assert_eq!(plain.sibling(variant.file()), Some(variant.clone()));
        assert_eq!(variant.sibling(variant.file()), Some(variant.clone()));
        for name in [plain.file(), plain.folder(), b"..", b"", &[b'A'; 32], &[b'g'; 32]] {
            assert_eq!(plain.sibling(name), None);
        }
    }

    proptest! {
        #[test]
        fn names_are_told_apart(seed: u64, path: Vec<u8>, rest: Vec<u8>) {
            let place = FilePlace::new(seed, &path, &rest);
            prop_assert!(is_hex(place.bucket(), BUCKET_LEN) && is_folder_name(place.folder()));
            prop_assert_eq!(place.is_variant(), !rest.is_empty());
            prop_assert_eq!(is_variant_name(place.file()), place.is_variant());
            prop_assert_eq!(is_file_name(place.file()), !place.is_variant());
        }
    }
}
