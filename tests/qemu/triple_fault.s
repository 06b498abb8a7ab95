# A kernel that dies at once and says nothing: its first instruction has no interrupt table to fault into.

        .section .note.pvh, "a", @note
        .long   4, 8, 18                # name size, value size, XEN_ELFNOTE_PHYS32_ENTRY
        .asciz  "Xen"
        .quad   pvh_entry

        .text
        .code32
        .globl  pvh_entry
pvh_entry:
        lidt    empty
        ud2
        .balign 8
empty:  .word   0
        .long   0

        # Where the image builder puts the payload.
        .section .payload, "a"
        .balign 4096
        .asciz  "NACRE-PAYLOAD\0\0"
