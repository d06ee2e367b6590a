;; Traps, as a program that panics does.
(module (memory (export "memory") 1) (func (export "_start") unreachable))
