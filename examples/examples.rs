//! Runnable examples stand beside this file: shell scripts that start masters, and programs that use them.
