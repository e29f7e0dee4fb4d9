//! Agents in real pods, reached as servers do: with exactly their rights, and under the policy for exec.

mod breaking;
mod stage;
mod working;
