package filter

// CheckMaxResults refuses, with an *Error, the size of a page that is too small or too
// large: models come up to 1000 at a time, versions up to 200000. MLflow lets pages of no
// models through, whose token leads to the same page for ever; here they are refused.
func CheckMaxResults(kind Kind, n int64) error {
	most := int64(1000)
	if kind == Versions {
		most = 200_000
	}
	switch {
	case n < 1:
		return refuse(-1, "Invalid value for max_results. It must be a positive integer, but got %d", n)
	case n > most:
		return refuse(-1, "Invalid value for request parameter max_results. It must be at most %d, but got value %d", most, n)
	}
	return nil
}
