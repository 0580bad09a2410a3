// Package subscription decides which events somebody wants to be told of: the seven
// filter dialects of the CloudEvents Subscriptions specification (exact, prefix,
// suffix, all, any, not and sql), compiled once and then asked for every event.
//
// Dialects look at attributes only, never at data. An event that lacks an attribute
// doesn't pass exact, prefix and suffix. In sql (CloudEvents SQL 1.0) it makes the
// whole expression an error, and an error doesn't pass, whatever stands around it. So
// the two ways to say "not this subject" part on an event without a subject:
//
//	{"not": {"exact": {"subject": "models/fraud"}}}    lets it pass
//	{"sql": "NOT (subject = 'models/fraud')"}          does not
//
// Within sql, say EXISTS first: "NOT EXISTS authid OR authid != 'prn_1'". A time is
// compared as text there, without zeros at the end of its fraction, while the other
// dialects see it as it is shown, with milliseconds.
//
// The package does no I/O. It does not belong here when it delivers (api, and others
// beside it) or keeps anything.
package subscription
