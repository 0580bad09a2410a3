package events

import (
	"encoding/hex"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
	"github.com/vmihailenco/msgpack/v5"
)

// one is a struct of one field, to see a value's form without an event's.
type one[T any] struct {
	V T `json:"v"`
}

// maybe is one that may be left out.
type maybe[T any] struct {
	V T `json:"v,omitzero"`
}

// oneV is how a struct of the one field "v" begins in canonical msgpack.
const oneV = "81a176"

var quietNaN = math.Float64frombits(0x7ff8_dead_beef_0001)

// TestFormsOfEveryPrimitive has one value of every length and type with its two
// forms. The bytes are under hashes: they never change.
func TestFormsOfEveryPrimitive(t *testing.T) {
	for _, c := range []struct {
		value    any
		pack     string // after oneV
		json     string // of the member v
		readBack any    // when it isn't the value
	}{
		{value: one[int]{0}, pack: "00", json: `0`},
		{value: one[int]{127}, pack: "7f", json: `127`},
		{value: one[int]{128}, pack: "cc80", json: `128`},
		{value: one[int]{255}, pack: "ccff", json: `255`},
		{value: one[int]{256}, pack: "cd0100", json: `256`},
		{value: one[int]{65535}, pack: "cdffff", json: `65535`},
		{value: one[int]{65536}, pack: "ce00010000", json: `65536`},
		{value: one[int]{math.MaxUint32}, pack: "ceffffffff", json: `4294967295`},
		{value: one[int]{1 << 32}, pack: "cf0000000100000000", json: `4294967296`},
		{value: one[int64]{math.MaxInt64}, pack: "cf7fffffffffffffff", json: `9223372036854775807`},
		{value: one[int64]{1<<53 + 1}, pack: "cf0020000000000001", json: `9007199254740993`},
		{value: one[int]{-1}, pack: "ff", json: `-1`},
		{value: one[int]{-32}, pack: "e0", json: `-32`},
		{value: one[int]{-33}, pack: "d0df", json: `-33`},
		{value: one[int]{-128}, pack: "d080", json: `-128`},
		{value: one[int]{-129}, pack: "d1ff7f", json: `-129`},
		{value: one[int]{-32768}, pack: "d18000", json: `-32768`},
		{value: one[int]{-32769}, pack: "d2ffff7fff", json: `-32769`},
		{value: one[int]{math.MinInt32}, pack: "d280000000", json: `-2147483648`},
		{value: one[int64]{math.MinInt32 - 1}, pack: "d3ffffffff7fffffff", json: `-2147483649`},
		{value: one[int64]{math.MinInt64}, pack: "d38000000000000000", json: `-9223372036854775808`},
		{value: one[uint64]{5}, pack: "05", json: `5`},
		{value: one[uint64]{math.MaxInt64 + 1}, pack: "cf8000000000000000", json: `9223372036854775808`},
		{value: one[uint64]{math.MaxUint64}, pack: "cfffffffffffffffff", json: `18446744073709551615`},
		{value: one[float64]{0}, pack: "cb0000000000000000", json: `0`},
		{value: one[float64]{math.Copysign(0, -1)}, pack: "cb8000000000000000", json: `-0`},
		{value: one[float64]{1}, pack: "cb3ff0000000000000", json: `1`},
		{value: one[float64]{0.5}, pack: "cb3fe0000000000000", json: `0.5`},
		{value: one[float64]{1e300}, pack: "cb7e37e43c8800759c", json: `1e+300`},
		{value: one[float64]{math.SmallestNonzeroFloat64}, pack: "cb0000000000000001", json: `5e-324`},
		{value: one[float64]{math.NaN()}, pack: "cb7ff8000000000001", json: `"NaN"`},
		{value: one[float64]{quietNaN}, pack: "cb7ff8000000000001", json: `"NaN"`},
		{value: one[float64]{math.Inf(1)}, pack: "cb7ff0000000000000", json: `"Infinity"`},
		{value: one[float64]{math.Inf(-1)}, pack: "cbfff0000000000000", json: `"-Infinity"`},
		{value: one[bool]{true}, pack: "c3", json: `true`},
		{value: one[bool]{false}, pack: "c2", json: `false`},
		{value: one[string]{""}, pack: "a0", json: `""`},
		{value: one[string]{"größe\x00\n\"<"}, pack: "ab6772c3b6c39f65000a223c", json: `"größe\u0000\n\"<"`},
		{value: one[string]{strings.Repeat("x", 31)}, pack: "bf" + strings.Repeat("78", 31), json: `"` + strings.Repeat("x", 31) + `"`},
		{value: one[string]{strings.Repeat("x", 32)}, pack: "d920" + strings.Repeat("78", 32), json: `"` + strings.Repeat("x", 32) + `"`},
		{value: one[string]{strings.Repeat("x", 256)}, pack: "da0100" + strings.Repeat("78", 256), json: `"` + strings.Repeat("x", 256) + `"`},
		{value: one[string]{strings.Repeat("x", 65536)}, pack: "db00010000" + strings.Repeat("78", 65536), json: `"` + strings.Repeat("x", 65536) + `"`},
		{value: maybe[[]byte]{[]byte{0, 0xff}}, pack: "c40200ff", json: `"AP8="`},
		{value: maybe[[]byte]{make([]byte, 255)}, pack: "c4ff" + strings.Repeat("00", 255), json: `"` + strings.Repeat("AAAA", 85) + `"`},
		{value: maybe[[]byte]{make([]byte, 258)}, pack: "c50102" + strings.Repeat("00", 258), json: `"` + strings.Repeat("AAAA", 86) + `"`},
		{value: maybe[[]byte]{make([]byte, 65538)}, pack: "c600010002" + strings.Repeat("00", 65538), json: `"` + strings.Repeat("AAAA", 21846) + `"`},
		{value: maybe[[][]byte]{[][]byte{{}}}, pack: "91c400", json: `[""]`},
		{value: one[ulid.ULID]{modelID}, pack: "ba" + hex.EncodeToString([]byte(modelID.String())), json: `"01KXFT0001M0DE100000000000"`},
		{value: one[Hash]{Hash{1, 15: 0xff}}, pack: "d920" + hex.EncodeToString([]byte("010000000000000000000000000000ff")), json: `"010000000000000000000000000000ff"`},
		{value: one[Text]{Plain("hi")}, pack: "a26869", json: `"hi"`},
		{value: one[Text]{Plain("[sealed]")}, pack: "a85b7365616c65645d", json: `"[sealed]"`},
		{
			value: one[Text]{Text{Sealed: &Sealed{Algorithm: "A", KeyID: "K", Nonce: "N", Ciphertext: "C"}}},
			pack:  "81a67365616c656484a3616c67a141a26374a143a36b6964a14ba56e6f6e6365a14e",
			json:  `{"sealed":{"alg":"A","kid":"K","nonce":"N","ct":"C"}}`,
		},
		{value: one[Range]{Range{1, 300}}, pack: "9201cd012c", json: `[1,300]`},
		{value: maybe[[]int]{[]int{3, -1}}, pack: "9203ff", json: `[3,-1]`},
		{value: maybe[[]bool]{make([]bool, 16)}, pack: "dc0010" + strings.Repeat("c2", 16), json: `[false` + strings.Repeat(",false", 15) + `]`},
		{value: maybe[[]bool]{make([]bool, 65536)}, pack: "dd00010000" + strings.Repeat("c2", 65536), json: `[false` + strings.Repeat(",false", 65535) + `]`},
		{value: maybe[map[string]string]{map[string]string{"b": "2", "a": "1", "": "0", "é": "3"}}, pack: "84a0a130a161a131a162a132a2c3a9a133", json: `{"":"0","a":"1","b":"2","é":"3"}`},
		{value: maybe[map[string]float64]{map[string]float64{"b": 1, "a": 2}}, pack: "82a161cb4000000000000000a162cb3ff0000000000000", json: `{"a":2,"b":1}`},
		{value: maybe[*Code]{&Code{Repository: "r"}}, pack: "81aa7265706f7369746f7279a172", json: `{"repository":"r"}`},
		{value: maybe[Object]{Object{"n": nil, "t": true, "s": "x", "i": int64(-1), "f": 0.5}}, pack: "85a166cb3fe0000000000000a169ffa16ec0a173a178a174c3", json: `{"f":0.5,"i":-1,"n":null,"s":"x","t":true}`},
		{value: maybe[Object]{Object{"a": []any{}, "o": map[string]any{"b": int64(1), "a": nil}}}, pack: "82a16190a16f82a161c0a16201", json: `{"a":[],"o":{"a":null,"b":1}}`},
		{value: maybe[Object]{Object{"x": 1.0}}, pack: "81a17801", json: `{"x":1}`, readBack: maybe[Object]{Object{"x": int64(1)}}},
		{value: maybe[Object]{Object{"x": 1e16}}, pack: "81a178cf002386f26fc10000", json: `{"x":10000000000000000}`, readBack: maybe[Object]{Object{"x": int64(1e16)}}},
		{value: maybe[Object]{Object{"x": 1e19}}, pack: "81a178cb43e158e460913d00", json: `{"x":10000000000000000000}`},
		{value: maybe[Object]{Object{"x": 1e300}}, pack: "81a178cb7e37e43c8800759c", json: `{"x":1e+300}`},
		{value: maybe[Object]{Object{"x": math.Copysign(0, -1)}}, pack: "81a17800", json: `{"x":0}`, readBack: maybe[Object]{Object{"x": int64(0)}}},
	} {
		pack, err := AppendCanonical(nil, c.value)
		if err != nil {
			t.Errorf("%#v: %v", c.value, err)
			continue
		}
		if got := hex.EncodeToString(pack); got != oneV+c.pack {
			t.Errorf("%#v on the log: got %s, want %s", c.value, got, oneV+c.pack)
		}
		json, err := AppendJSON(nil, c.value)
		if err != nil {
			t.Errorf("%#v: %v", c.value, err)
			continue
		}
		if got, want := string(json), `{"v":`+c.json+`}`; got != want {
			t.Errorf("%#v at the edges: got %s, want %s", c.value, got, want)
		}
		want := c.readBack
		if want == nil {
			want = c.value
		}
		readsBack(t, want, func(into any) error { return ReadCanonical(pack, into) })
		readsBack(t, want, func(into any) error { return ReadJSON(json, into) })
	}
}

func readsBack(t *testing.T, want any, read func(into any) error) {
	t.Helper()
	into := reflect.New(reflect.TypeOf(want))
	if err := read(into.Interface()); err != nil {
		t.Errorf("%#v: %v", want, err)
		return
	}
	if diff := cmp.Diff(want, into.Elem().Interface(), sameEvent); diff != "" {
		t.Errorf("%#v: %s", want, diff)
	}
}

// TestSpellingsOfANumberAreOneNumber: what a publisher's JSON library makes of
// 1 must not change an event's hash.
func TestSpellingsOfANumberAreOneNumber(t *testing.T) {
	for _, spellings := range [][]string{
		{"1", "1.0", "1e0", "10e-1", "1.000000000000000000000"},
		{"0", "-0", "0.0", "-0.0", "0e9"},
		{"10000000000000000", "1e16", "1.0E+16"},
		{"10000000000000000000", "1e19"},
		{"9007199254740993"},
		{"-9223372036854775808", "-9.223372036854775808e18"},
	} {
		var first []byte
		for _, s := range spellings {
			var o maybe[Object]
			if err := ReadJSON([]byte(`{"v":{"n":`+s+`}}`), &o); err != nil {
				t.Fatal(err)
			}
			pack, err := AppendCanonical(nil, o)
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = pack
			}
			if string(pack) != string(first) {
				t.Errorf("%s is %x, %s is %x", spellings[0], first, s, pack)
			}
		}
	}
}

func TestEmptyOptionalFieldsAreLeftOut(t *testing.T) {
	type optional struct {
		Slice   []int             `json:"slice,omitempty"`
		Map     map[string]string `json:"map,omitempty"`
		Object  Object            `json:"object,omitempty"`
		Pointer *Code             `json:"pointer,omitempty"`
		Text    Text              `json:"text,omitzero"`
		String  string            `json:"string,omitempty"`
		Int     int               `json:"int,omitzero"`
		Float   float64           `json:"float,omitzero"`
		Bool    bool              `json:"bool,omitzero"`
	}
	for _, v := range []optional{{}, {Slice: []int{}, Map: map[string]string{}, Object: Object{}}} {
		pack, err := AppendCanonical(nil, v)
		if err != nil || hex.EncodeToString(pack) != "80" {
			t.Errorf("on the log: got %x, %v", pack, err)
		}
		json, err := AppendJSON(nil, v)
		if err != nil || string(json) != "{}" {
			t.Errorf("at the edges: got %s, %v", json, err)
		}
	}
}

// TestKeysAreSortedOnTheLogAndDeclaredAtTheEdges looks at the bytes with another
// reader than ours.
func TestKeysAreSortedOnTheLogAndDeclaredAtTheEdges(t *testing.T) {
	for kind, e := range examples() {
		t.Run(kind, func(t *testing.T) {
			d := msgpack.NewDecoder(strings.NewReader(string(stored(t, e).Data)))
			n, err := d.DecodeMapLen()
			if err != nil {
				t.Fatal(err)
			}
			last := ""
			for range n {
				key, err := d.DecodeString()
				if err != nil {
					t.Fatal(err)
				}
				if key <= last {
					t.Errorf("%q stands after %q", key, last)
				}
				last = key
				if err := d.Skip(); err != nil {
					t.Fatal(err)
				}
			}
			json, err := AppendJSON(nil, e.Data)
			if err != nil {
				t.Fatal(err)
			}
			at := 0
			for field := range reflect.TypeOf(e.Data).Fields() {
				name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
				next := strings.Index(string(json), `"`+name+`":`)
				if next < at {
					t.Errorf("%s does not stand where it is declared: %s", name, json)
				}
				at = next
			}
		})
	}
}

func TestObjectsNestAtMost32Deep(t *testing.T) {
	for _, c := range []struct {
		name  string
		empty any
		wrap  func(any) any
	}{
		{"lists", []any{}, func(x any) any { return []any{x} }},
		{"objects", map[string]any{}, func(x any) any { return map[string]any{"k": x} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			full, hollow := nested(c.wrap, "leaf", 32), nested(c.wrap, c.empty, 31)
			takesDepth(t, full)
			takesDepth(t, hollow)
			refusesDepth(t, c.wrap(full))
			refusesDepth(t, c.wrap(hollow)) // an empty container is one too
		})
	}
}

func nested(wrap func(any) any, x any, times int) any {
	for range times {
		x = wrap(x)
	}
	return x
}

// takesDepth compares with reflect, since cmp takes exponential time here.
func takesDepth(t *testing.T, x any) {
	t.Helper()
	v := maybe[Object]{Object{"x": x}}
	pack, err := AppendCanonical(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	json, err := AppendJSON(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	var a, b maybe[Object]
	if err := ReadCanonical(pack, &a); err != nil || !reflect.DeepEqual(a, v) {
		t.Errorf("on the log: got %v, %v", a, err)
	}
	if err := ReadJSON(json, &b); err != nil || !reflect.DeepEqual(b, v) {
		t.Errorf("at the edges: got %v, %v", b, err)
	}
}

func refusesDepth(t *testing.T, x any) {
	t.Helper()
	v := maybe[Object]{Object{"x": x}}
	_, err := AppendCanonical(nil, v)
	refused(t, err, errDepth.Error())
	_, err = AppendJSON(nil, v)
	refused(t, err, errDepth.Error())
	pack, err := msgpack.Marshal(map[string]any{"v": map[string]any{"x": x}})
	if err != nil {
		t.Fatal(err)
	}
	refused(t, ReadCanonical(pack, new(maybe[Object])), errDepth.Error())
	json, err := json.Marshal(map[string]any{"v": map[string]any{"x": x}})
	if err != nil {
		t.Fatal(err)
	}
	refused(t, ReadJSON(json, new(maybe[Object])), errDepth.Error())
}

// refused checks that an error says what it should.
func refused(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Errorf("taken, want an error with %q", want)
	} else if !strings.Contains(err.Error(), want) {
		t.Errorf("got the error %q, want %q in it", err, want)
	}
}

// TestTypesWithoutAFormPanicAtTheFirstUse: a mistake in a struct is found by any
// test of it, and never by a user.
func TestTypesWithoutAFormPanicAtTheFirstUse(t *testing.T) {
	for name, v := range map[string]any{
		"no form for":            one[chan int]{},
		"needs a json name":      struct{ V int }{},
		"must be optional":       one[[]int]{},
		"no form for map[int]":   maybe[map[int]string]{},
		"no form for complex128": one[complex128]{},
	} {
		func() {
			defer func() {
				if p, _ := recover().(string); !strings.Contains(p, name) {
					t.Errorf("%T: got the panic %q, want %q in it", v, p, name)
				}
			}()
			_, _ = AppendCanonical(nil, v)
		}()
	}
}
