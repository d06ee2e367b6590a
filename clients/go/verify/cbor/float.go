package cbor

import "math"

// Half precision, IEEE 754: one bit of sign, five of exponent, ten of fraction.
const (
	halfFractionBits = 10
	halfExponentBias = 15
	halfExponentMax  = 31
	// A subnormal half is a count of 2^-24.
	halfSubnormalUnit = 0x1p-24
)

// halfValue is the value of half precision bits; infinities and NaN included.
func halfValue(bits uint16) float64 {
	fraction := float64(bits & 0x3ff)
	exponent := int(bits>>halfFractionBits) & 0x1f
	var magnitude float64
	switch {
	case exponent == 0:
		magnitude = fraction * halfSubnormalUnit
	case exponent < halfExponentMax:
		magnitude = math.Ldexp(1+fraction/1024, exponent-halfExponentBias)
	case fraction == 0:
		magnitude = math.Inf(1)
	default:
		return math.NaN()
	}
	if bits&0x8000 != 0 {
		return -magnitude
	}
	return magnitude
}

// halfBits is the half precision form of a finite value, if one holds it exactly.
func halfBits(value float64) (bits uint16, exact bool) {
	magnitude := math.Abs(value)
	switch {
	case magnitude == 0:
		bits = 0
	case magnitude < 0x1p-14:
		count := magnitude / halfSubnormalUnit
		if count != math.Trunc(count) {
			return 0, false
		}
		bits = uint16(count)
	case magnitude < 0x1p16:
		significand, exponent := math.Frexp(magnitude) // In [½, 1), of which the half has eleven bits.
		scaled := significand * (2 << halfFractionBits)
		if scaled != math.Trunc(scaled) {
			return 0, false
		}
		bits = uint16(exponent-1+halfExponentBias)<<halfFractionBits | uint16(scaled)&0x3ff
	default:
		return 0, false
	}
	if math.Signbit(value) {
		bits |= 0x8000
	}
	return bits, true
}

// isSingle says whether single precision holds the value exactly.
func isSingle(value float64) bool { return float64(float32(value)) == value }

// isSafeInteger says whether the value is integral and within ±(2⁵³−1).
func isSafeInteger(value float64) bool {
	return value == math.Trunc(value) && math.Abs(value) <= SafeMax
}
