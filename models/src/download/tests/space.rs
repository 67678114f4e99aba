//! Full disks, on a real file system of four megabytes.
use std::process::Command;

use super::server::Server;
use super::*;

/// A tiny file system. Mounting needs root; elsewhere these tests say that they do nothing.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    fn mount(kilobytes: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kilobytes}k"), "tmpfs"])
            .arg(dir.path())
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            eprintln!("skipped: this user cannot mount a small file system");
        }
        mounted.then_some(Self { dir })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.dir.path()).output();
    }
}

/// Longest wait for a place that is given back.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

#[tokio::test]
async fn a_disk_that_is_too_small_is_seen_before_anything_is_fetched() {
    let Some(disk) = SmallDisk::mount(1024) else { return };
    let (place, server) = (Place::new(true), Server::of(body()));
    let error = downloader(&server.address(), 3)
        .pull(&place.library_in(disk.dir.path()), "tiny", Piece::Weights, None, &|_| {})
        .await
        .unwrap_err();
    let PullError::Library(LibraryError::NoSpace { free, needed, .. }) = &error else { panic!("{error}") };
    assert!(*free < 1024 * 1024 && *needed == 1_986_048 + 1_986_048 / 20);
    assert!(server.log().is_empty());
}

#[tokio::test]
async fn a_disk_that_fills_up_keeps_what_came() {
    let Some(disk) = SmallDisk::mount(4096) else { return };
    let (place, server) = (Place::new(true), Server::of(body()));
    let library = place.library_in(disk.dir.path());
    let ballast = disk.dir.path().join("ballast");
    // Somebody else takes the rest of the disk as soon as the first bytes have come.
    let fill = |progress: Progress| {
        if progress.stage == Stage::Fetching && !ballast.exists() {
            let _ = std::fs::write(&ballast, vec![1; 4096 * 1024]);
        }
    };
    let here = downloader(&server.address(), 3);
    let error = here.pull(&library, "tiny", Piece::Weights, None, &fill).await.unwrap_err();
    let PullError::DiskFull { kept, .. } = error else { panic!("{error}") };
    assert!(error.to_string().contains("free some space and run the same command again"), "{error}");
    assert_eq!(server.log().len(), 1, "a full disk is not tried again");
    std::fs::remove_file(&ballast).unwrap();
    // A process that another test forks in this moment has the ballast open until it becomes another program.
    let freed = async {
        loop {
            match here.pull(&library, "tiny", Piece::Weights, None, &|_| {}).await {
                Err(PullError::Library(LibraryError::NoSpace { .. })) => tokio::task::yield_now().await,
                ended => return ended,
            }
        }
    };
    let pulled = tokio::time::timeout(PATIENCE, freed).await.unwrap().unwrap();
    assert_eq!(std::fs::read(pulled.stored.path).unwrap(), body());
    assert_eq!(server.log()[1].start().unwrap_or(0), kept);
}
