//! Which instructions do the same at any address.

use iced_x86::{CpuidFeature, FlowControl, Instruction};

use super::super::forbidden::is_forbidden;
use super::Reason;

/// Says why an instruction must stay where it is, if it must.
///
/// Registers, memory and flags are the same in a stub, the stack included: nothing is pushed there. What differs is the address of
/// the instruction itself.
pub(super) fn why_not(instruction: &Instruction) -> Option<Reason> {
    if instruction.is_invalid() {
        return Some(Reason::Unmovable);
    }
    if instruction.flow_control() != FlowControl::Next {
        return Some(Reason::Branch);
    }
    if instruction.is_ip_rel_memory_operand() {
        return Some(Reason::RelativeOperand);
    }
    // The kernel traps it where it is. A lock prefix may be jumped over. The x87 unit keeps the address of its last instruction.
    let has_place = is_forbidden(instruction) || instruction.has_lock_prefix() || is_x87(instruction);
    has_place.then_some(Reason::Unmovable)
}

fn is_x87(instruction: &Instruction) -> bool {
    let is_of_unit = |feature| matches!(feature, CpuidFeature::FPU | CpuidFeature::FPU287 | CpuidFeature::FPU387);
    instruction.cpuid_features().iter().any(|&feature| is_of_unit(feature))
}
