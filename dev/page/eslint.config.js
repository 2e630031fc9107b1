import js from "@eslint/js";
import globals from "globals";

export default [
  js.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      complexity: ["error", 10],
      eqeqeq: "error",
      "max-depth": ["error", 3],
      "max-lines": ["error", { max: 320 }],
      "max-lines-per-function": ["error", { max: 45 }],
      "max-params": ["error", 4],
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-param-reassign": ["error", { props: false }],
      "no-shadow": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      "prefer-template": "error",
      // Text goes into the page as text. The page's policy forbids these too, but only when they are run.
      "no-restricted-properties": [
        "error",
        { property: "innerHTML", message: "Use el() and say()." },
        { property: "outerHTML", message: "Use el() and say()." },
        { property: "insertAdjacentHTML", message: "Use el() and say()." },
        { object: "document", property: "write", message: "Use el() and say()." },
      ],
    },
  },
  { files: ["reclaim/**/*.js"], languageOptions: { globals: globals.browser } },
  {
    files: ["tests/**/*.js"],
    languageOptions: { globals: globals.node },
    rules: { "max-lines-per-function": "off" },
  },
];
