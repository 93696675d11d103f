//! Random UUIDs, from bytes that the driver's source of entropy gives.

/// A random UUID of version 4, which cannot be one of Kafka's reserved ids; as Kafka's, it does not begin with `-` when
/// printed, so that no tool takes it for an option.
pub fn random_uuid(random: &mut dyn FnMut() -> [u8; 16]) -> [u8; 16] {
    for _ in 0..TRIES_MAX {
        let mut bytes = random();
        let [first, .., version, _, variant, _, _, _, _, _, _, _] = &mut bytes;
        *version = *version & 0x0f | 0x40;
        *variant = *variant & 0x3f | 0x80;
        // The first six bits make the first character.
        if *first >> 2 != BASE64_OF_DASH {
            return bytes;
        }
    }
    panic!("the source of random bytes repeats itself");
}

/// One in 64 tries fails; so many in a row is not chance.
const TRIES_MAX: usize = 100;

const BASE64_OF_DASH: u8 = 62;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TopicId;

    #[test]
    fn it_has_the_bits_of_version_4_and_no_leading_dash() {
        for first in 0..=255 {
            let mut given = [[first; 16], [0xff; 16]].into_iter();
            let id = random_uuid(&mut || given.next().unwrap());
            assert_eq!((id[6] >> 4, id[8] >> 6), (4, 2));
            let printed = TopicId(id).to_string();
            assert!(!printed.starts_with('-'), "{printed}");
            let again = TopicId([first; 16]).to_string().starts_with('-');
            assert_eq!(id[0], if again { 0xff } else { first });
        }
    }
}
