//! Walks over files in memory: whole ones, cut ones, damaged ones.

use super::*;
use crate::runtime::Result as DiskResult;
use crate::storage::recovery::tests::batch;

struct Bytes(Vec<u8>);

impl BlockingFile for Bytes {
    fn read_at(&self, position: u64, bytes: &mut [u8]) -> DiskResult<usize> {
        let rest = self.0.get(index(position)..).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
    fn write_at(&self, _: u64, _: &[u8]) -> DiskResult<()> {
        unreachable!("a walk reads")
    }
    fn sync(&self) -> DiskResult<()> {
        unreachable!("a walk reads")
    }
    fn set_length(&self, _: u64) -> DiskResult<()> {
        unreachable!("a walk reads")
    }
    fn allocate(&self, _: u64, _: u64) -> DiskResult<()> {
        unreachable!("a walk reads")
    }
    fn length(&self) -> DiskResult<u64> {
        Ok(wide(self.0.len()))
    }
}

/// Base offsets and positions of the good batches, where the walk ended and why.
fn walked(bytes: Vec<u8>) -> (Vec<(i64, u64)>, u64, Stop) {
    let mut seen = Vec::new();
    let (scanned, stop) = walk(&Bytes(bytes), 0, Expected::at(Offset(10)), |header, at, bytes| {
        assert_eq!(bytes.len(), header.size_bytes);
        seen.push((header.base_offset.0, at));
        ControlFlow::Continue(())
    })
    .unwrap();
    (seen, scanned.end, stop)
}

#[test]
fn batches_smaller_and_larger_than_the_window_are_walked_over() {
    let parts =
        [batch(10, 2, 0, 100), batch(12, 1, 0, 3 << 20), batch(13, 5, 1, 0), batch(18, 1, 1, 1_048_500)];
    let bytes = parts.concat();
    let at = [0, 161, 161 + 61 + (3 << 20), 161 + 122 + (3 << 20)];
    let seen = vec![(10, at[0]), (12, at[1]), (13, at[2]), (18, at[3])];
    assert_eq!(walked(bytes.clone()), (seen.clone(), wide(bytes.len()), Stop::End));

    // Cut anywhere in the last batch: the ones before it hold.
    for cut in [1, 61, 62, 1_048_500] {
        let cut = bytes[..bytes.len() - cut].to_vec();
        let (found, end, stop) = walked(cut.clone());
        assert_eq!((found.as_slice(), end), (&seen[..3], at[3]));
        let left = cut.len() - index(at[3]);
        assert_eq!(stop, Stop::Batch(BatchError::BodyCut { expected: 1_048_561, found: left }));
    }
    let (_, end, stop) = walked(bytes[..index(at[3]) + 60].to_vec());
    assert_eq!((end, stop), (at[3], Stop::Batch(BatchError::HeaderCut { found: 60 })));
}

#[test]
fn a_walk_says_why_it_ends() {
    let first = batch(10, 2, 3, 50);
    let with = |second: Vec<u8>| {
        let (seen, end, stop) = walked([first.clone(), second].concat());
        assert_eq!((seen, end), (vec![(10, 0)], 111));
        stop
    };
    let mut flipped = batch(12, 1, 3, 50);
    flipped[100] ^= 1;
    assert!(matches!(with(flipped), Stop::Batch(BatchError::Crc { .. })));
    assert_eq!(with(vec![0; 8192]), Stop::Batch(BatchError::Magic { found: 0 }));
    assert_eq!(with(batch(13, 1, 3, 50)), Stop::Offset { expected: Offset(12), found: Offset(13) });
    let (before, found) = (LeaderEpoch(3), LeaderEpoch(2));
    assert_eq!(with(batch(12, 1, 2, 50)), Stop::LeaderEpoch { before, found });

    let mut seen = 0;
    let two = [first.clone(), batch(12, 1, 3, 50)].concat();
    let (scanned, stop) = walk(&Bytes(two), 0, Expected::at(Offset(10)), |_, _, _| {
        seen += 1;
        ControlFlow::Break(())
    })
    .unwrap();
    assert_eq!((seen, scanned.end, stop), (1, 0, Stop::Enough));
}
