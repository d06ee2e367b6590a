# May this role do this action to this target? The same question that every server of the benchmark is asked.
package sigil.bench

default allow := false

allow if permitted(input)

# One answer a question, in their order.
answers := [answer | some question in input.questions; answer := permitted(question)]

default permitted(_) := false

permitted(question) if {
	some rule in data.rules[question.role]
	rule.action == question.action
	glob.match(rule.target, ["/"], question.target)
}
