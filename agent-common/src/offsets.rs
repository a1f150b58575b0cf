// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where the running kernel keeps the fields that the programs read. The daemon takes them from the kernel's BTF at
//! start and hands them to the programs as a read-only global; the kernel's verifier then prunes what is absent.

use bytemuck::{Pod, Zeroable};

/// A field that this kernel does not have: what needs it is off. It is never read at offset zero.
pub const ABSENT: u32 = u32::MAX;

macro_rules! offsets {
    ($($(#[$doc:meta])* $field:ident: $structure:literal . $member:literal,)*) => {
        /// Byte offsets, each named after the structure and the member it stands for.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
        pub struct KernelOffsets {
            $($(#[$doc])* pub $field: u32,)*
            /// The value of a file's reference count that means one reference: 1, or 0 from Linux 6.13 on.
            pub file_single_reference: u32,
            /// The values of `enum iter_type` for a single buffer of the process, which is new in Linux 6.0, and for a
            /// vector of them.
            pub iterates_buffer: u32,
            pub iterates_vector: u32,
            /// Not zero where the verifier knows the types of the current task and of its saved registers: Linux 5.15.
            pub task_is_typed: u32,
        }

        impl KernelOffsets {
            pub const ABSENT: Self = Self {
                $($field: ABSENT,)*
                file_single_reference: 1,
                iterates_buffer: ABSENT,
                iterates_vector: ABSENT,
                task_is_typed: 0,
            };

            /// Looks every field up: `find(structure, member)` answers with an offset in bytes.
            pub fn resolve(mut find: impl FnMut(&'static str, &'static str) -> Option<u32>) -> Self {
                Self { $($field: find($structure, $member).unwrap_or(ABSENT),)* ..Self::ABSENT }
            }

            /// The same, as a kernel without the field `structure.member` has it.
            pub fn without(mut self, field: &str) -> Self {
                $(if field == concat!($structure, ".", $member) {
                    self.$field = ABSENT;
                })*
                self
            }

            /// The fields that were not found, as `structure.member`.
            pub fn absent(&self) -> impl Iterator<Item = &'static str> {
                [$((self.$field, concat!($structure, ".", $member)),)*]
                    .into_iter()
                    .filter_map(|(offset, name)| (offset == ABSENT).then_some(name))
            }
        }
    };
}

offsets! {
    task_tgid: "task_struct"."tgid",
    task_tid: "task_struct"."pid",
    task_files: "task_struct"."files",
    task_signal: "task_struct"."signal",
    task_mm: "task_struct"."mm",
    mm_stack: "mm_struct"."start_stack",
    task_thread: "task_struct"."thread",
    /// What C libraries keep the thread's own block at. `uw.tp_value` on arm64, where it is the first in there.
    thread_pointer: "thread_struct"."fsbase",
    signal_live: "signal_struct"."live",
    vma_flags: "vm_area_struct"."vm_flags",
    files_fdt: "files_struct"."fdt",
    fdt_max_fds: "fdtable"."max_fds",
    fdt_fd: "fdtable"."fd",
    file_private_data: "file"."private_data",
    file_inode: "file"."f_inode",
    /// `f_count` before Linux 6.13.
    file_references: "file"."f_ref",
    inode_mode: "inode"."i_mode",
    inode_number: "inode"."i_ino",
    socket_type: "socket"."type",
    socket_sk: "socket"."sk",
    socket_file: "socket"."file",
    sock_family: "sock_common"."skc_family",
    sock_local_port: "sock_common"."skc_num",
    sock_remote_port: "sock_common"."skc_dport",
    sock_local_v4: "sock_common"."skc_rcv_saddr",
    sock_remote_v4: "sock_common"."skc_daddr",
    sock_local_v6: "sock_common"."skc_v6_rcv_saddr",
    sock_remote_v6: "sock_common"."skc_v6_daddr",
    sock_net: "sock_common"."skc_net",
    sock_state: "sock_common"."skc_state",
    sock_flags: "sock_common"."skc_flags",
    net_namespace: "net"."ns",
    namespace_number: "ns_common"."inum",
    sock_socket: "sock"."sk_socket",
    sock_protocol: "sock"."sk_protocol",
    sock_pacing: "sock"."sk_pacing_status",
    sock_shutdown: "sock"."sk_shutdown",
    sock_error: "sock"."sk_err",
    tcp_sent: "tcp_sock"."write_seq",
    tcp_send_next: "tcp_sock"."snd_nxt",
    /// When the last packet left, or with pacing the next may.
    tcp_left: "tcp_sock"."tcp_wstamp_ns",
    tcp_received: "tcp_sock"."copied_seq",
    tcp_acknowledged: "tcp_sock"."snd_una",
    tcp_bytes_acknowledged: "tcp_sock"."bytes_acked",
    tcp_receive_next: "tcp_sock"."rcv_nxt",
    tcp_bytes_received: "tcp_sock"."bytes_received",
    unix_peer: "unix_sock"."peer",
    message_iterator: "msghdr"."msg_iter",
    iterator_type: "iov_iter"."iter_type",
    iterator_offset: "iov_iter"."iov_offset",
    iterator_buffer: "iov_iter"."ubuf",
    /// From Linux 6.4 on, at the place of the two.
    iterator_own_piece: "iov_iter"."__ubuf_iovec",
    /// `iov` before Linux 6.4.
    iterator_vector: "iov_iter"."__iov",
}
