// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sites in code that compilers have really made, as bytes.

use agent_common::plaintext::Cookie;

use super::*;

const AT: u64 = 0x10_0000;
const THREE: Arguments = 0b111;

#[track_caller]
fn check(
    machine: Machine,
    code: &[u8],
    convention: Convention,
    purpose: Purpose,
    offset: u64,
    text: &str,
    cheap: bool,
) {
    let site = find(machine, code, AT, convention, THREE, purpose);
    assert_eq!((site.offset, site.instruction.as_str(), site.is_cheap), (offset, text, cheap), "{site:?}");
}

/// OpenSSL 3.0 on Debian 12: `sub rsp; mov rax, fs; mov [rsp], rax; xor eax, eax; test edx, edx; js; mov rcx, rsp; movsxd;
/// call`.
const SSL_READ: &[u8] = &[
    0x48, 0x83, 0xec, 0x18, 0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0, 0x48, 0x89, 0x44, 0x24, 0x08, 0x31, 0xc0,
    0x85, 0xd2, 0x78, 0x2f, 0x48, 0x89, 0xe1, 0x48, 0x63, 0xd2, 0xe8, 0x3d, 0xfe, 0xff, 0xff,
];

#[test]
fn arguments_are_read_at_the_first_jump() {
    check(Machine::X86_64, SSL_READ, Convention::C, Purpose::Entry, 22, "js 100047h", true);
    let site = find(Machine::X86_64, SSL_READ, AT, Convention::C, THREE, Purpose::Entry);
    assert_eq!(site.stack, 0x18);
}

#[test]
fn a_return_is_never_caught_past_a_change_of_the_stack() {
    check(Machine::X86_64, SSL_READ, Convention::C, Purpose::EntryAndReturn, 0, "sub rsp,18h", false);
    // `endbr64; push rbp`: the return address is still on top.
    let code = [0xf3, 0x0f, 0x1e, 0xfa, 0x55, 0x48, 0x89, 0xe5];
    check(Machine::X86_64, &code, Convention::C, Purpose::EntryAndReturn, 4, "push rbp", true);
}

/// The same `SSL_read` without its middle: `sub rsp, 18h; mov rdx, [rsp+8]; sub rdx, fs:[28h]; jne; add rsp, 18h; xor edx, edx;
/// ret`, and then `mov eax, -1; jmp` back behind the first.
const GUARDED: &[u8] = &[
    0x48, 0x83, 0xec, 0x18, 0x48, 0x8b, 0x54, 0x24, 0x08, 0x64, 0x48, 0x2b, 0x14, 0x25, 0x28, 0, 0, 0, 0x75, 0x0e,
    0x48, 0x83, 0xc4, 0x18, 0x31, 0xd2, 0xc3, 0xb8, 0xff, 0xff, 0xff, 0xff, 0xeb, 0xe2, 0x90, 0x90,
];

fn leaving_of(code: &[u8]) -> Leaving {
    leaving(Machine::X86_64, code, AT, Entered::AtItsBeginning).expect("every way is told")
}

#[track_caller]
fn check_leaving(machine: Machine, code: &[u8], sites: &[(u64, bool, u32)], jumps: &[u64]) {
    let found = leaving(machine, code, AT, Entered::AtItsBeginning).expect("every way is told");
    let found_sites: Vec<_> = found.sites.iter().map(|site| (site.offset, site.is_cheap, site.stack)).collect();
    assert_eq!((found_sites.as_slice(), found.jumps.as_slice()), (sites, jumps), "{found:?}");
}

/// What a hit means: unless which condition, and where the result is.
#[track_caller]
fn check_meaning(code: &[u8], sites: &[(u64, Option<u8>, u8)]) {
    let found = leaving_of(code);
    let meaning = |site: &Site| (site.offset, site.unless.map(|condition| condition.0), site.result);
    assert_eq!(found.sites.iter().map(meaning).collect::<Vec<_>>(), sites, "{found:?}");
}

#[test]
fn a_return_is_seen_at_the_check_of_the_guard() {
    check_leaving(Machine::X86_64, GUARDED, &[(18, true, 0x18)], &[]);
    check_meaning(GUARDED, &[(18, Some(NOT_EQUAL), 0)]);
    // `xor eax, eax` behind the check: nothing is ever given.
    let late: Vec<u8> = GUARDED.iter().enumerate().map(|(at, byte)| if at == 25 { 0xc0 } else { *byte }).collect();
    check_leaving(Machine::X86_64, &late, &[(24, false, 0)], &[]);
    // The jump back leads behind it, from where the check itself has led.
    let around = |at| match at {
        19 => 0x07,
        33 => 0xf2,
        _ => GUARDED[at],
    };
    let around: Vec<u8> = (0..GUARDED.len()).map(around).collect();
    check_leaving(Machine::X86_64, &around, &[(18, true, 0x18), (32, true, 0x18)], &[]);
    // Parts that lie elsewhere lead back into it: the check is all that none of them can pass by.
    let open = |code| leaving(Machine::X86_64, code, AT, Entered::Elsewhere).expect("every way is told").sites;
    assert_eq!(open(GUARDED), leaving_of(GUARDED).sites);
    assert_eq!(open(&RESULTS[1..]).iter().map(|site| site.is_cheap).collect::<Vec<_>>(), [false]);
}

const EQUAL: u8 = 4;
const NOT_EQUAL: u8 = 5;

/// `ssl3_read_internal` of OpenSSL 3.0 without its beginning: `push rbx; call [rax+68h]; cmp eax, -1; je; mov [rbx+1b8h], 0; pop
/// rbx; ret`, behind which the session may turn out to have been asked for a handshake: `cmp [rbx+1b8h], 2; jne; call; mov eax,
/// [rsp+0ch]; jmp`.
const TWICE: &[u8] = &[
    0x53, 0xff, 0x50, 0x68, 0x83, 0xf8, 0xff, 0x74, 0x0c, 0xc7, 0x83, 0xb8, 0x01, 0, 0, 0, 0, 0, 0, 0x5b, 0xc3, 0x83,
    0xbb, 0xb8, 0x01, 0, 0, 0x02, 0x75, 0xeb, 0xe8, 0, 0x01, 0, 0, 0x8b, 0x44, 0x24, 0x0c, 0xeb, 0xea,
];

#[test]
fn each_way_to_an_end_is_seen_once() {
    check_leaving(Machine::X86_64, TWICE, &[(7, true, 8), (28, true, 8), (39, true, 8)], &[]);
    check_meaning(TWICE, &[(7, Some(EQUAL), 0), (28, Some(EQUAL), 0), (39, None, 0)]);
}

/// `push rbx; call [rax+68h]; mov edx, eax; test eax, eax; je; xor edx, edx; mov eax, edx; pop rbx; ret`
const RESULTS: &[u8] =
    &[0x53, 0xff, 0x50, 0x68, 0x89, 0xc2, 0x85, 0xc0, 0x74, 0x02, 0x31, 0xd2, 0x89, 0xd0, 0x5b, 0xc3];

#[test]
fn a_result_is_followed_through_registers() {
    check_leaving(Machine::X86_64, RESULTS, &[(8, true, 8), (10, false, 8)], &[]);
    const RDX: u8 = 12;
    check_meaning(RESULTS, &[(8, Some(NOT_EQUAL), RDX), (10, None, Cookie::NOTHING)]);
}

#[test]
fn nothing_is_read_before_it_has_been_stored() {
    // `push rbx; test eax, eax; je; mov [rbx], rdx; pop rbx; ret`
    let code = [0x53, 0x85, 0xc0, 0x74, 0x03, 0x48, 0x89, 0x13, 0x5b, 0xc3];
    check_leaving(Machine::X86_64, &code, &[(8, false, 8)], &[]);
}

#[test]
fn frames_tell_how_deep_the_stack_is() {
    // `push rbp; mov rbp, rsp; push r12; sub rsp, 18h; call [rax+68h]; test eax, eax; jne +0; lea rsp, [rbp-8]; pop r12; pop rbp;
    // ret`, and the same with `leave`
    let begin = [0x55, 0x48, 0x89, 0xe5, 0x41, 0x54, 0x48, 0x83, 0xec, 0x18, 0xff, 0x50, 0x68, 0x85, 0xc0, 0x75, 0x00];
    for end in [&[0x48, 0x8d, 0x65, 0xf8, 0x41, 0x5c, 0x5d, 0xc3][..], &[0xc9, 0xc3]] {
        let code = [&begin[..], end].concat();
        check_leaving(Machine::X86_64, &code, &[(15, true, 40)], &[]);
        // Both of its ways lead to the end.
        check_meaning(&code, &[(15, None, 0)]);
    }
}

#[test]
fn a_jump_to_a_method_names_its_place_in_the_table() {
    // `mov rax, [rdi+8]; mov rax, [rax+38h]; jmp rax`, and with the first or the second as a part of the jump
    assert_eq!(leaving_of(&[0x48, 0x8b, 0x47, 0x08, 0x48, 0x8b, 0x40, 0x38, 0xff, 0xe0]).methods, [0x38]);
    assert_eq!(leaving_of(&[0x48, 0x8b, 0x47, 0x08, 0xff, 0x60, 0x38]).methods, [0x38]);
    // A function that an object holds itself is in no table.
    assert_eq!(leaving(Machine::X86_64, &[0x48, 0x8b, 0x47, 0x08, 0xff, 0xe0], AT, Entered::AtItsBeginning), None);
    // `push rax` before: it would not return in this one's place.
    let pushed = [0x50, 0x48, 0x8b, 0x47, 0x08, 0x48, 0x8b, 0x40, 0x38, 0xff, 0xe0];
    assert_eq!(leaving(Machine::X86_64, &pushed, AT, Entered::AtItsBeginning), None);
    // `lea rax, [rip+100h]; ret`
    assert_eq!(given_address(Machine::X86_64, &[0x48, 0x8d, 0x05, 0, 1, 0, 0, 0xc3], AT), Some(AT + 0x107));
    assert_eq!(given_address(Machine::X86_64, &[0x48, 0x8b, 0x05, 0, 1, 0, 0, 0xc3], AT), None);
}

#[test]
fn wrappers_hand_their_arguments_on() {
    // `SSL_read_ex` of OpenSSL 3.0: `sub rsp, 8; call`
    let handed = handed_on(Machine::X86_64, &[0x48, 0x83, 0xec, 0x08, 0xe8, 0, 1, 0, 0], AT, 3);
    assert_eq!(handed, Some(HandedOn { target: AT + 0x109, is_call: true, told: 3 }));
    // `SSL_write_ex` of 3.3: `mov r8, rcx; xor ecx, ecx; jmp`
    let handed = handed_on(Machine::X86_64, &[0x49, 0x89, 0xc8, 0x31, 0xc9, 0xeb, 0xd9], AT, 3);
    assert_eq!(handed, Some(HandedOn { target: AT + 7 - 0x27, is_call: false, told: 4 }));
    // `mov rsi, rdi; call`, `xor ecx, ecx; call`
    assert_eq!(handed_on(Machine::X86_64, &[0x48, 0x89, 0xfe, 0xe8, 0, 1, 0, 0], AT, 3), None);
    assert_eq!(handed_on(Machine::X86_64, &[0x31, 0xc9, 0xe8, 0, 1, 0, 0], AT, 3), None);
}

#[test]
fn a_jump_to_another_function_is_followed_if_it_is_told_where_to() {
    // `test edi, edi; js +1; ret; jmp +100h`
    check_leaving(Machine::X86_64, &[0x85, 0xff, 0x78, 1, 0xc3, 0xe9, 0, 1, 0, 0], &[(2, true, 0)], &[AT + 0x10a]);
    // `pop rbx; jmp rax`
    assert_eq!(leaving(Machine::X86_64, &[0x5b, 0xff, 0xe0], AT, Entered::AtItsBeginning), None);
    // `add rax, rdx; jmp rax; ret`: a table of the function's own.
    check_leaving(Machine::X86_64, &[0x48, 0x01, 0xd0, 0xff, 0xe0, 0xc3], &[(5, false, 0)], &[]);
    // `cbz x0; ret; b`
    let code = arm(&[0xb400_0040, 0xd65f_03c0, 0x1400_0040]);
    check_leaving(Machine::Arm64, &code, &[(4, true, 0)], &[AT + 8 + 0x100]);
    // `br x16`, and the same behind `add x16, x16, w17, sxtw #2`
    assert_eq!(leaving(Machine::Arm64, &arm(&[0xd61f_0200]), AT, Entered::AtItsBeginning), None);
    check_leaving(Machine::Arm64, &arm(&[0x8b31_ca10, 0xd61f_0200, 0xd65f_03c0]), &[(8, true, 0)], &[]);
}

#[test]
fn an_argument_that_is_written_ends_the_walk() {
    // `sub rsp, 8; mov rsi, rax; js`
    let code = [0x48, 0x83, 0xec, 0x08, 0x48, 0x89, 0xc6, 0x78, 0x10, 0xc3];
    check(Machine::X86_64, &code, Convention::C, Purpose::Entry, 0, "sub rsp,8h", false);
}

#[test]
fn a_place_that_a_loop_comes_back_to_is_not_taken() {
    // `test rdi, rdi; js +0x10; nop [rax]; jmp back to the js`
    let code = [0x48, 0x85, 0xff, 0x78, 0x10, 0x0f, 0x1f, 0x00, 0xeb, 0xf9];
    check(Machine::X86_64, &code, Convention::C, Purpose::Entry, 0, "test rdi,rdi", false);
}

#[test]
fn pushes_of_registers_are_emulated_with_no_other_prefix() {
    for (code, cheap) in [(&[0x55][..], true), (&[0x41, 0x57], true), (&[0x48, 0x55], false), (&[0xff, 0x30], false)] {
        assert_eq!(describe(Machine::X86_64, code, AT, 0).is_cheap, cheap, "{code:x?}");
    }
}

#[test]
fn go_is_probed_at_the_check_of_its_stack() {
    // `lea r12, [rsp-48h]; cmp r12, [r14+10h]; jbe`
    let code = [0x4c, 0x8d, 0x64, 0x24, 0xb8, 0x4d, 0x3b, 0x66, 0x10, 0x0f, 0x86, 0x93, 0x07, 0, 0];
    let site = find(Machine::X86_64, &code, AT, Convention::Go, THREE, Purpose::Entry);
    assert_eq!((site.offset, site.is_cheap, site.unless), (9, true, Some(Condition(6))));
}

fn arm(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn arm64_walks_to_the_first_branch() {
    // `ldr x16, [x28, #16]; cmp sp, x16; b.ls`
    let go = arm(&[0xf940_0b90, 0xeb30_63ff, 0x5400_0609]);
    let site = find(Machine::Arm64, &go, AT, Convention::Go, THREE, Purpose::Entry);
    assert_eq!((site.offset, site.is_cheap, site.unless), (8, true, Some(Condition(9))));
    // `stp x29, x30, [sp, #-48]!; mov x29, sp; cbz x0`
    let c = arm(&[0xa9bd_7bfd, 0x9100_03fd, 0xb400_0100]);
    check(Machine::Arm64, &c, Convention::C, Purpose::Entry, 8, "cbz", true);
    check(Machine::Arm64, &c, Convention::C, Purpose::EntryAndReturn, 0, "stp", false);
    // `mov x0, x19; cbz x0`: the first argument is gone.
    let written = arm(&[0xaa13_03e0, 0xb400_0100]);
    check(Machine::Arm64, &written, Convention::C, Purpose::Entry, 0, "mov", false);
    // `ldr x1, [x0]; cbz x0`
    let loaded = arm(&[0xf940_0001, 0xb400_0100]);
    check(Machine::Arm64, &loaded, Convention::C, Purpose::Entry, 0, "0xf9400001", false);
}

#[test]
fn arm64_calls_lead_forward_and_back() {
    let code = arm(&[0x9400_0010, 0x97ff_fff0]);
    let found = calls(Machine::Arm64, &code, AT);
    assert_eq!(found, [CallSite { offset: 0, target: AT + 0x40 }, CallSite { offset: 4, target: AT + 4 - 0x40 }]);
}

/// No bytes make it panic, or a site beyond them.
#[test]
fn any_bytes_have_a_site() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..20_000 {
        let code: Vec<u8> = (0..24)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        for machine in [Machine::X86_64, Machine::Arm64] {
            for purpose in [Purpose::Entry, Purpose::EntryAndReturn] {
                let site = find(machine, &code, AT, Convention::C, THREE, purpose);
                let left = leaving(machine, &code, AT, Entered::AtItsBeginning).unwrap_or_default();
                assert!(left.sites.iter().all(|site| site.offset < 24), "{code:x?}");
                assert!(site.offset < 24 && (purpose == Purpose::Entry || site.stack == 0), "{code:x?}");
            }
            let _ = calls(machine, &code, AT);
        }
    }
}
