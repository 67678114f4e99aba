//! What the filter answers, call by call. The kernel's own judgement is seen by the probe, which can make only some of these calls.
use seccompiler::{BpfProgram, sock_filter};

use super::*;

/// The kernel's view of a call: its number, the architecture, where it comes from (two words), then the arguments, low half first.
fn words(call: i64, arguments: &[u64]) -> Vec<u32> {
    #[cfg(target_arch = "x86_64")]
    let arch = 0xc000_003e;
    #[cfg(target_arch = "aarch64")]
    let arch = 0xc000_00b7;
    let mut words = vec![call as u32, arch, 0, 0];
    words.extend(arguments.iter().flat_map(|argument| [*argument as u32, (argument >> 32) as u32]));
    words.resize(16, 0);
    words
}

/// Runs a filter as the kernel does.
fn run(program: &BpfProgram, words: &[u32]) -> u32 {
    let (mut at, mut value) = (0, 0);
    loop {
        let sock_filter { code, jt, jf, k } = program[at];
        let mut jump = |holds: bool| at += usize::from(if holds { jt } else { jf });
        match code {
            0x20 => value = words[k as usize / 4],
            0x54 => value &= k,
            0x05 => at += k as usize,
            0x15 => jump(value == k),
            0x25 => jump(value > k),
            0x35 => jump(value >= k),
            0x06 => return k,
            other => panic!("the filter has an instruction {other:#x}"),
        }
        at += 1;
    }
}

/// The error that a call gets; 0 if it is let through. The strictest filter decides.
fn answer(call: i64, arguments: &[u64]) -> i32 {
    answer_with(Driver::None, call, arguments)
}

fn answer_with(driver: Driver, call: i64, arguments: &[u64]) -> i32 {
    const ALLOW: u32 = 0x7fff_0000;
    const ERRNO: u32 = 0x0005_0000;
    let arch = TargetArch::try_from(std::env::consts::ARCH).unwrap();
    let answers = [no_new_clone(arch), forbidden_calls(driver, arch)]
        .map(|filter| run(&filter.unwrap(), &words(call, arguments)));
    match answers.into_iter().find(|answer| *answer != ALLOW) {
        None => 0,
        Some(refused) => {
            assert_eq!(refused & 0xffff_0000, ERRNO, "call {call} is refused, not deadly");
            (refused & 0xffff) as i32
        }
    }
}

#[track_caller]
fn check(call: i64, arguments: &[u64], wanted: i32) {
    assert_eq!(answer(call, arguments), wanted, "call {call} with {arguments:x?}");
}

/// Seen of real workers that loaded, answered, were refused memory, and aborted.
const SEEN: &[i64] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    libc::SYS_fadvise64,
    libc::SYS_close,
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sigaltstack,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_prctl,
    libc::SYS_sysinfo,
    libc::SYS_getrandom,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

#[test]
fn what_workers_do_is_let_through() {
    for &call in SEEN {
        check(call, &[], 0);
    }
}

#[test]
fn what_they_need_not_is_refused() {
    for call in forbidden() {
        check(call, &[], libc::EPERM);
        check(call, &[u64::MAX; 6], libc::EPERM);
    }
    check(libc::SYS_clone3, &[], libc::ENOSYS);
}

#[test]
fn some_calls_depend_on_what_they_ask() {
    let (own, other) = (u64::from(std::process::id()), u64::from(std::process::id()) + 1);
    let everybody = -1_i64 as u64;
    for call in [libc::SYS_kill, libc::SYS_tgkill] {
        check(call, &[own, own, 6], 0);
        for process in [0, 1, other, everybody, (-(own as i64)) as u64] {
            check(call, &[process, own, 6], libc::EPERM);
        }
    }
    for process in [0, own, other] {
        check(libc::SYS_prlimit64, &[process, 4, 0, 0x7fff_0000_0000], 0);
        check(libc::SYS_prlimit64, &[process, 4, 0x7fff_0000_0000, 0], libc::EPERM);
    }
    let thread = libc::CLONE_THREAD as u64 | libc::CLONE_VM as u64;
    check(libc::SYS_clone, &[thread], 0);
    for process in
        [libc::SIGCHLD as u64, (libc::CLONE_VM | libc::CLONE_VFORK) as u64, libc::CLONE_NEWUSER as u64]
    {
        check(libc::SYS_clone, &[process], libc::EPERM);
    }
    for way in [libc::F_GETFL, libc::F_GETFD, libc::F_SETFD, libc::F_DUPFD_CLOEXEC] {
        check(libc::SYS_fcntl, &[0, way as u64], 0);
    }
    for way in [libc::F_SETOWN, F_SETSIG, F_SETOWN_EX, libc::F_NOTIFY] {
        check(libc::SYS_fcntl, &[0, way as u64, own], libc::EPERM);
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn nothing_computes_with_tiles() {
    check(libc::SYS_arch_prctl, &[0x1023, 18], libc::EPERM);
    check(libc::SYS_arch_prctl, &[0x1002, 0x7f00_0000_0000], 0); // a thread's own memory
}

#[test]
fn files_are_opened_only_to_read() {
    let here = libc::AT_FDCWD as u64;
    let check = |flags: i32, wanted| {
        check(libc::SYS_openat, &[here, 0, flags as u64], wanted);
        #[cfg(target_arch = "x86_64")]
        check(libc::SYS_open, &[0, flags as u64], wanted);
    };
    for flags in [0, libc::O_CLOEXEC, libc::O_DIRECTORY | libc::O_CLOEXEC, libc::O_NOFOLLOW] {
        check(flags, 0);
    }
    for flags in [libc::O_WRONLY, libc::O_RDWR, libc::O_ACCMODE, libc::O_CREAT, libc::O_TRUNC] {
        check(flags | libc::O_CLOEXEC, libc::EPERM);
    }
    check(libc::O_TMPFILE | libc::O_RDWR, libc::EPERM);
}

#[test]
fn a_gpu_s_driver_may_order_its_devices_and_nothing_else() {
    const DRIVERS: [Driver; 2] = [Driver::BehindLandlock, Driver::Alone];
    let ioctl = libc::SYS_ioctl;
    // DRM's, NVIDIA's, NVIDIA's for memory, AMD's for computing, a shared buffer's.
    for order in [0xc010_6409, 0xc020_462a, 0x3000_0001, 0x27, 0xc020_4b01, 0x4008_6200_u64] {
        check(ioctl, &[3, order], libc::EPERM);
        for driver in DRIVERS {
            assert_eq!(answer_with(driver, ioctl, &[3, order]), 0, "{order:#x}");
            for stream in 0..3 {
                assert_eq!(answer_with(driver, ioctl, &[stream, order]), libc::EPERM, "{order:#x}");
            }
        }
    }
    // Push into a terminal, how much can be read, own a socket, set a file's flags, clone a file, freeze a file system.
    for order in [0x5412, 0x541b, 0x8901, 0x4008_6602, 0x4004_9409, 0xc004_5877_u64] {
        for driver in DRIVERS {
            assert_eq!(answer_with(driver, ioctl, &[7, order]), libc::EPERM, "{order:#x}");
        }
    }
    for driver in DRIVERS {
        for call in forbidden().filter(|call| *call != ioctl) {
            assert_eq!(answer_with(driver, call, &[]), libc::EPERM, "call {call}");
        }
        assert_eq!(answer_with(driver, libc::SYS_clone3, &[]), libc::ENOSYS);
    }
}

#[test]
fn a_gpu_s_driver_opens_to_write_only_behind_landlock() {
    let open = |driver, flags: i32| answer_with(driver, libc::SYS_openat, &[0, 0, flags as u64]);
    assert_eq!(open(Driver::BehindLandlock, libc::O_RDWR | libc::O_CLOEXEC), 0);
    assert_eq!(open(Driver::Alone, libc::O_RDWR | libc::O_CLOEXEC), libc::EPERM);
    for flags in [libc::O_WRONLY, libc::O_ACCMODE, libc::O_RDWR | libc::O_CREAT, libc::O_RDWR | libc::O_TRUNC]
    {
        for driver in [Driver::BehindLandlock, Driver::Alone] {
            assert_eq!(open(driver, flags), libc::EPERM, "{flags:#x}");
        }
    }
}

#[test]
fn what_a_driver_s_libraries_may_read_holds_nobody_s_own_files() {
    for path in gpu::libraries() {
        for own in ["/home", "/root", "/tmp", "/var", "/proc", "/dev", "/run", "/"] {
            assert_ne!(path, Path::new(own));
            assert!(!Path::new(own).starts_with(path) || own == "/", "{}", path.display());
        }
    }
    let devices = gpu::devices();
    assert!(devices.iter().all(|path| path.starts_with("/dev")), "{devices:?}");
    assert!(!devices.iter().any(|path| path.ends_with("tty") || path.ends_with("shm")), "{devices:?}");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_second_table_has_no_way_around() {
    for call in 0..600 {
        if answer(call, &[]) != 0 || answer(call, &[u64::MAX; 6]) != 0 {
            assert_ne!(answer(call | X32_BIT, &[]), 0, "call {call} of the second table");
        }
    }
    for call in X32_ONLY {
        assert_ne!(answer(call | X32_BIT, &[]), 0, "call {call} of the second table");
    }
}
