package subscription

import (
	"fmt"
	"strings"
	"sync"

	"github.com/antlr/antlr4/runtime/Go/antlr"
	cesql "github.com/cloudevents/sdk-go/sql/v2"
	"github.com/cloudevents/sdk-go/sql/v2/gen"
	"github.com/cloudevents/sdk-go/sql/v2/parser"
	"github.com/cloudevents/sdk-go/sql/v2/runtime"
	"github.com/cloudevents/sdk-go/sql/v2/utils"
	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/modelog/modelog/handlers"
)

// expression is a compiled filter in CloudEvents SQL.
type expression struct{ sql cesql.Expression }

// Matches implements node. Any error of the evaluation is a no.
func (x expression) Matches(e *Event) bool {
	result, err := evaluate(x.sql, e.cloudEvent())
	if err != nil {
		return false
	}
	result, err = utils.Cast(result, cesql.BooleanType)
	passes, ok := result.(bool)
	return err == nil && ok && passes
}

// evaluate turns a panic of the evaluator, which is not ours, into an error.
func evaluate(sql cesql.Expression, e cloudevents.Event) (result any, err error) {
	defer recovered(&err)
	return sql.Evaluate(e)
}

func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("the expression can't be handled: %v", r)
	}
}

func parseSQL(pointer, text string) (node, error) {
	if text == "" {
		return nil, handlers.InvalidField(pointer, "required", "must not be empty")
	}
	if len(text) > MaxSQL {
		return nil, handlers.InvalidField(pointer, "max_length", "is longer than %d bytes", MaxSQL)
	}
	sql, tokens, err := parse(text)
	if err != nil {
		return nil, handlers.InvalidField(pointer, "cesql", "is not CloudEvents SQL: %v", err)
	}
	if err := checkNames(pointer, tokens); err != nil {
		return nil, err
	}
	return expression{sql}, nil
}

// parsing guards the parser, which keeps what it has learnt of the grammar for all of
// its instances.
var parsing sync.Mutex

// parse gives an expression, and the tokens that it was made of.
func parse(text string) (sql cesql.Expression, tokens []antlr.Token, err error) {
	parsing.Lock()
	defer parsing.Unlock()
	defer recovered(&err)
	if tokens, err = lex(text); err != nil {
		return nil, nil, err
	}
	if err := checkNesting(tokens); err != nil {
		return nil, nil, err
	}
	sql, err = parser.Parse(text)
	return sql, tokens, err
}

// lex refuses what is no token. The parser by itself would skip it, and say so on the
// standard error stream.
func lex(text string) ([]antlr.Token, error) {
	lexer := gen.NewCESQLParserLexer(parser.NewCaseChangingStream(antlr.NewInputStream(text), true))
	errs := &lexErrors{}
	lexer.RemoveErrorListeners()
	lexer.AddErrorListener(errs)
	tokens := lexer.GetAllTokens()
	return tokens, errs.first
}

type lexErrors struct {
	antlr.DefaultErrorListener
	first error
}

// SyntaxError implements antlr.ErrorListener.
func (l *lexErrors) SyntaxError(_ antlr.Recognizer, _ any, _, column int, message string, _ antlr.RecognitionException) {
	if l.first == nil {
		l.first = fmt.Errorf("at character %d: %s", column+1, message)
	}
}

// maxNesting bounds what the parser does by recursion.
const maxNesting = 64

// checkNesting refuses expressions that lie too deep: brackets in each other, and
// operators before one operand.
func checkNesting(tokens []antlr.Token) error {
	depth, before := 0, 0
	for _, t := range tokens {
		switch t.GetTokenType() {
		case gen.CESQLParserLexerLR_BRACKET:
			depth++
		case gen.CESQLParserLexerRR_BRACKET:
			depth--
		case gen.CESQLParserLexerNOT, gen.CESQLParserLexerMINUS:
			before++
		case gen.CESQLParserLexerSPACE:
		default:
			before = 0
		}
		if depth+before > maxNesting {
			return fmt.Errorf("at character %d: it is more than %d levels deep", t.GetColumn()+1, maxNesting)
		}
	}
	return nil
}

// checkNames refuses attributes and functions that there aren't, which would make
// every evaluation an error.
func checkNames(pointer string, tokens []antlr.Token) error {
	for i, t := range tokens {
		kind := t.GetTokenType()
		if kind != gen.CESQLParserLexerIDENTIFIER && kind != gen.CESQLParserLexerIDENTIFIER_WITH_NUMBER && kind != gen.CESQLParserLexerFUNCTION_IDENTIFIER_WITH_UNDERSCORE {
			continue
		}
		name := t.GetText()
		if called(tokens[i+1:]) {
			if !isFunction(name) {
				return handlers.InvalidField(pointer, "unknown_function", "%.100q is no function of CloudEvents SQL", name)
			}
			continue
		}
		if _, known := places[strings.ToLower(name)]; !known {
			return unknownAttribute(pointer, name)
		}
	}
	return nil
}

// called says whether what follows a name makes it that of a function.
func called(rest []antlr.Token) bool {
	for _, t := range rest {
		if t.GetTokenType() != gen.CESQLParserLexerSPACE {
			return t.GetTokenType() == gen.CESQLParserLexerLR_BRACKET
		}
	}
	return false
}

func isFunction(name string) bool {
	const arguments = 4 // more than any needs
	for n := range arguments {
		if runtime.ResolveFunction(name, n) != nil {
			return true
		}
	}
	return false
}
