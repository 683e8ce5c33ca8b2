#pragma once
// A file system that is soon full, for one child process: a tmpfs in a mount namespace of its own, so neither rights nor traces.

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace wavllm::tests {

/// Mounts a tmpfs of `bytes` on `folder`, seen by this process alone and gone with it. Call it in a forked child. Works for root,
/// and for others where the system has user namespaces; false where it has not.
inline bool mount_small_disk(const std::filesystem::path& folder, size_t bytes) {
    const std::string uid = std::to_string(getuid()), gid = std::to_string(getgid());
    if (unshare(CLONE_NEWNS) != 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
        std::ofstream("/proc/self/setgroups") << "deny";
        std::ofstream("/proc/self/uid_map") << "0 " << uid << " 1";
        std::ofstream("/proc/self/gid_map") << "0 " << gid << " 1";
    }
    // In a chroot "/" is no mount point and cannot be made private; leave_small_disk() takes the mount away there.
    (void)mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
    return mount("none", folder.c_str(), "tmpfs", 0, ("size=" + std::to_string(bytes)).c_str()) == 0;
}

/// Ends the child.
[[noreturn]] inline void leave_small_disk(const std::filesystem::path& folder, int code) {
    (void)umount2(folder.c_str(), MNT_DETACH);
    _exit(code);
}

/// Makes it larger, as a user would make room.
inline bool grow_small_disk(const std::filesystem::path& folder, size_t bytes) {
    return mount("none", folder.c_str(), "tmpfs", MS_REMOUNT, ("size=" + std::to_string(bytes)).c_str()) == 0;
}

}  // namespace wavllm::tests
