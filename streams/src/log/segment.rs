//! Beginning a segment.

use std::io;
use std::sync::Arc;

use telemetry::Timestamp;

use super::disk::Disk;
use super::format::SegmentHeader;
use super::shared::Paths;
use super::view::Active;
use crate::faults::{Point, Tooth, point, tooth};

/// Creates the segment of `header`, and makes it and its name durable.
pub(super) fn begin(disk: &dyn Disk, paths: &Paths, header: SegmentHeader) -> io::Result<Active> {
    let bytes = header.encode();
    let file = disk.create(&paths.segment(header.number))?;
    disk.write_at(&file, &bytes, 0)?;
    disk.sync(&file)?;
    point(Point::SegmentNamed);
    if !tooth(Tooth::LogDirectorySyncSkipped) {
        disk.sync_dir(&paths.segments())?;
    }
    Ok(Active {
        number: header.number,
        file: Arc::new(file),
        slots: vec![Vec::new(); header.starts.len()],
        starts: header.starts.into_boxed_slice(),
        bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        newest: Timestamp::from_micros(i64::MIN),
    })
}
