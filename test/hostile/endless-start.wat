;; Never ends, and before its main function is called.
(module
  (memory (export "memory") 1)
  (func $first (loop $on (br $on)))
  (start $first)
  (func (export "_start")))
