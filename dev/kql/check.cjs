// What Microsoft's parser says of KQL: reads a JSON list of queries, writes a JSON list of the complaints of each.
//
// The tables are Application Insights' own, as far as reclaim's telemetry fills them.
"use strict";
require("@kusto/language-service-next/bridge.min.js");
require("@kusto/language-service-next/Kusto.Language.Bridge.min.js");

const { KustoCode, GlobalState } = Kusto.Language;
const { DatabaseSymbol, TableSymbol } = Kusto.Language.Symbols;

const ALL = "timestamp: datetime, operation_Id: string, operation_ParentId: string, customDimensions: dynamic, itemCount: int";
const TABLES = {
  requests: `${ALL}, id: string, name: string, duration: real, resultCode: string, success: string, customMeasurements: dynamic`,
  dependencies: `${ALL}, id: string, name: string, type: string, target: string, data: string, duration: real, resultCode: string, success: string, customMeasurements: dynamic`,
  customMetrics: `${ALL}, name: string, value: real, valueCount: int, valueSum: real, valueMin: real, valueMax: real`,
  traces: `${ALL}, message: string, severityLevel: int`,
};

const tables = Object.entries(TABLES).map(([name, columns]) => TableSymbol.From(`(${columns})`).WithName(name));
const globals = GlobalState.Default.WithDatabase(new DatabaseSymbol.$ctor1("insights", tables));

function complaints(query) {
  const found = [];
  const diagnostics = KustoCode.ParseAndAnalyze(query, globals).GetDiagnostics();
  for (let at = 0; at < diagnostics.Count; at++) {
    const one = diagnostics.getItem(at);
    found.push(`${one.Code} ${one.Message}`);
  }
  return found;
}

const queries = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(queries.map(complaints)));
