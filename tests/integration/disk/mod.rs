//! Disks that are full, fail, lie or cache.

mod corruption;
mod device_error;
mod full_disk;
mod full_start;
mod page_cache;
mod storage_error;
