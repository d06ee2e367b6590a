;; A table of ten million functions from the beginning.
(module (memory (export "memory") 1) (table 10000000 funcref) (func (export "_start")))
